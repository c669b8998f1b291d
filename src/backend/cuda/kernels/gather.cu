// Sum pooling of table rows, and packing of rows (each row a bag of its own). One thread computes 16 bytes (or one
// word) of the output, so that neighbouring threads read one row and write one cache line.
#include "prelude.h"

template <typename V>
DEVICE void gather(const V* __restrict__ table, const u32* __restrict__ indices, const u32* __restrict__ offsets,
                   V* __restrict__ pooled, u32 bags, u32 elements) {
  u32 i = block_index() * block_threads() + thread_index();
  u32 bag = i / elements;
  u32 element = i - bag * elements;
  if (bag >= bags) return;
  if (!offsets) {
    pooled[i] = table[(u64)indices[bag] * elements + element];
    return;
  }
  V sum = 0.0f;
  for (u32 k = offsets[bag], end = offsets[bag + 1]; k < end; k++) sum += table[(u64)indices[k] * elements + element];
  pooled[i] = sum;
}

KERNEL THREADS(256) void gather_4(const float4* table, const u32* indices, const u32* offsets, float4* pooled, u32 bags,
                                  u32 elements) {
  gather<float4>(table, indices, offsets, pooled, bags, elements);
}

KERNEL THREADS(256) void gather_1(const float* table, const u32* indices, const u32* offsets, float* pooled, u32 bags,
                                  u32 elements) {
  gather<float>(table, indices, offsets, pooled, bags, elements);
}
