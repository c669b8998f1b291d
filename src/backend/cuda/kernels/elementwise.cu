// Sums of vectors of equal length, element by element.
#include "prelude.h"

template <typename V>
DEVICE void add(const V* __restrict__ source, V* __restrict__ target, u32 elements) {
  u32 i = block_index() * block_threads() + thread_index();
  if (i < elements) target[i] += source[i];
}

KERNEL THREADS(256) void add_4(const float4* source, float4* target, u32 elements) {
  add<float4>(source, target, elements);
}

KERNEL THREADS(256) void add_1(const float* source, float* target, u32 elements) {
  add<float>(source, target, elements);
}
