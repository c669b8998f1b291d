// Sum pooling of table rows, each times the weight of its lookup, and the gradients of these products. One thread computes
// 16 bytes (or one word) of the output, so that neighbouring threads read one row and write one cache line.
#include "prelude.h"

template <typename V>
DEVICE void pool_weighted(const V* __restrict__ table, const u32* __restrict__ indices,
                          const u32* __restrict__ offsets, const float* __restrict__ weights, V* __restrict__ pooled,
                          u32 bags, u32 elements) {
  u32 i = block_index() * block_threads() + thread_index();
  u32 bag = i / elements;
  u32 element = i - bag * elements;
  if (bag >= bags) return;
  V sum = 0.0f;
  for (u32 k = offsets[bag], end = offsets[bag + 1]; k < end; k++) {
    sum += weights[k] * table[(u64)indices[k] * elements + element];
  }
  pooled[i] = sum;
}

// scaled (lookups, elements): row bags[k] of x times weights[k], for each lookup k; and places[k] = k. Lookups of a
// smaller batch end before; the lists have zeros there.
template <typename V>
DEVICE void scale_rows(const V* __restrict__ x, const u32* __restrict__ bags, const float* __restrict__ weights,
                       V* __restrict__ scaled, u32* __restrict__ places, u32 lookups, u32 elements) {
  u32 i = block_index() * block_threads() + thread_index();
  u32 k = i / elements;
  u32 element = i - k * elements;
  if (k >= lookups) return;
  scaled[i] = weights[k] * x[(u64)bags[k] * elements + element];
  if (element == 0) places[k] = k;
}

KERNEL THREADS(256) void pool_weighted_4(const float4* table, const u32* indices, const u32* offsets,
                                         const float* weights, float4* pooled, u32 bags, u32 elements) {
  pool_weighted<float4>(table, indices, offsets, weights, pooled, bags, elements);
}

KERNEL THREADS(256) void pool_weighted_1(const float* table, const u32* indices, const u32* offsets,
                                         const float* weights, float* pooled, u32 bags, u32 elements) {
  pool_weighted<float>(table, indices, offsets, weights, pooled, bags, elements);
}

KERNEL THREADS(256) void scale_rows_4(const float4* x, const u32* bags, const float* weights, float4* scaled,
                                      u32* places, u32 lookups, u32 elements) {
  scale_rows<float4>(x, bags, weights, scaled, places, lookups, elements);
}

KERNEL THREADS(256) void scale_rows_1(const float* x, const u32* bags, const float* weights, float* scaled,
                                      u32* places, u32 lookups, u32 elements) {
  scale_rows<float>(x, bags, weights, scaled, places, lookups, elements);
}
