// Sums and products of vectors of equal length, element by element.
#include "prelude.h"

template <typename V>
DEVICE void add(const V* __restrict__ source, V* __restrict__ target, u32 elements) {
  u32 i = block_index() * block_threads() + thread_index();
  if (i < elements) target[i] += source[i];
}

template <typename V>
DEVICE void multiply_add(const V* a, const V* b, const V* c, V* __restrict__ y, u32 elements) {
  u32 i = block_index() * block_threads() + thread_index();
  if (i < elements) y[i] = a[i] * b[i] + c[i];
}

template <typename V>
DEVICE void multiply_add_backward(const V* a, const V* b, const V* d_y, V* __restrict__ d_a, V* __restrict__ d_b,
                                  V* __restrict__ d_c, u32 elements) {
  u32 i = block_index() * block_threads() + thread_index();
  if (i >= elements) return;
  V gradient = d_y[i], first = a[i], second = b[i];
  d_a[i] = second * gradient;
  d_b[i] = first * gradient;
  d_c[i] = gradient;
}

KERNEL THREADS(256) void add_4(const float4* source, float4* target, u32 elements) {
  add<float4>(source, target, elements);
}

KERNEL THREADS(256) void add_1(const float* source, float* target, u32 elements) {
  add<float>(source, target, elements);
}

KERNEL THREADS(256) void multiply_add_4(const float4* a, const float4* b, const float4* c, float4* y, u32 elements) {
  multiply_add<float4>(a, b, c, y, elements);
}

KERNEL THREADS(256) void multiply_add_1(const float* a, const float* b, const float* c, float* y, u32 elements) {
  multiply_add<float>(a, b, c, y, elements);
}

KERNEL THREADS(256) void multiply_add_backward_4(const float4* a, const float4* b, const float4* d_y, float4* d_a,
                                                 float4* d_b, float4* d_c, u32 elements) {
  multiply_add_backward<float4>(a, b, d_y, d_a, d_b, d_c, elements);
}

KERNEL THREADS(256) void multiply_add_backward_1(const float* a, const float* b, const float* d_y, float* d_a,
                                                 float* d_b, float* d_c, u32 elements) {
  multiply_add_backward<float>(a, b, d_y, d_a, d_b, d_c, elements);
}
