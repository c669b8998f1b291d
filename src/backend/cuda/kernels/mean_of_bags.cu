// Mean pooling of sums, and its gradient: divides the vector of each bag by the number of its lookups. One thread computes
// 16 bytes (or one word).
#include "prelude.h"

template <typename V>
DEVICE void mean_of_bags(const u32* __restrict__ offsets, const V* __restrict__ x, V* __restrict__ y, u32 bags,
                         u32 elements) {
  u32 i = block_index() * block_threads() + thread_index();
  u32 bag = i / elements;
  if (bag >= bags) return;
  u32 lookups = offsets[bag + 1] - offsets[bag];
  y[i] = x[i] / (float)(lookups == 0 ? 1 : lookups);
}

KERNEL THREADS(256) void mean_of_bags_4(const u32* offsets, const float4* x, float4* y, u32 bags, u32 elements) {
  mean_of_bags<float4>(offsets, x, y, bags, elements);
}

KERNEL THREADS(256) void mean_of_bags_1(const u32* offsets, const float* x, float* y, u32 bags, u32 elements) {
  mean_of_bags<float>(offsets, x, y, bags, elements);
}
