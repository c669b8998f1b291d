// Sums and products of vectors of equal length, element by element.
#include "prelude.h"

template <typename V>
DEVICE void add(const V* __restrict__ source, V* __restrict__ target, u32 elements) {
  u32 i = block_index() * block_threads() + thread_index();
  if (i < elements) target[i] += source[i];
}

template <typename V>
DEVICE void multiply_add(const V* a, const V* b, const V* bias, const V* c, V* __restrict__ y, u32 columns,
                         u32 elements) {
  u32 i = block_index() * block_threads() + thread_index();
  if (i < elements) y[i] = a[i] * (b[i] + bias[i % columns]) + c[i];
}

// Bits of `adds`.
enum Adds { ADDS_A = 1, ADDS_C = 2 };

// d_a, d_c and d_y may be the same. d_c may be null.
template <typename V>
DEVICE void multiply_add_backward(const V* a, const V* b, const V* bias, const V* d_y, V* d_a, V* __restrict__ d_b,
                                  V* d_c, u32 columns, u32 adds, u32 elements) {
#pragma clang fp contract(off)
  u32 i = block_index() * block_threads() + thread_index();
  if (i >= elements) return;
  V gradient = d_y[i];
  V of_a = (b[i] + bias[i % columns]) * gradient;
  d_b[i] = a[i] * gradient;
  if (d_c != nullptr && (adds & ADDS_C) == 0) d_c[i] = gradient;
  d_a[i] = (adds & ADDS_A) == 0 ? of_a : d_a[i] + of_a;
  if (d_c != nullptr && (adds & ADDS_C) != 0) d_c[i] += gradient;
}

KERNEL THREADS(256) void add_4(const float4* source, float4* target, u32 elements) {
  add<float4>(source, target, elements);
}

KERNEL THREADS(256) void add_1(const float* source, float* target, u32 elements) {
  add<float>(source, target, elements);
}

KERNEL THREADS(256) void multiply_add_4(const float4* a, const float4* b, const float4* bias, const float4* c,
                                        float4* y, u32 columns, u32 elements) {
  multiply_add<float4>(a, b, bias, c, y, columns, elements);
}

KERNEL THREADS(256) void multiply_add_1(const float* a, const float* b, const float* bias, const float* c, float* y,
                                        u32 columns, u32 elements) {
  multiply_add<float>(a, b, bias, c, y, columns, elements);
}

KERNEL THREADS(256) void multiply_add_backward_4(const float4* a, const float4* b, const float4* bias,
                                                 const float4* d_y, float4* d_a, float4* d_b, float4* d_c,
                                                 u32 columns, u32 adds, u32 elements) {
  multiply_add_backward<float4>(a, b, bias, d_y, d_a, d_b, d_c, columns, adds, elements);
}

KERNEL THREADS(256) void multiply_add_backward_1(const float* a, const float* b, const float* bias, const float* d_y,
                                                 float* d_a, float* d_b, float* d_c, u32 columns, u32 adds,
                                                 u32 elements) {
  multiply_add_backward<float>(a, b, bias, d_y, d_a, d_b, d_c, columns, adds, elements);
}
