// The reverse of packing: packed row i is written to row rows[i] of a table. Rows are distinct, so each has one writer.
#include "prelude.h"

template <typename V>
DEVICE void scatter(const V* __restrict__ packed, const u32* __restrict__ rows, V* __restrict__ table, u32 count,
                    u32 elements) {
  u32 i = block_index() * block_threads() + thread_index();
  u32 row = i / elements;
  if (row < count) table[(u64)rows[row] * elements + (i - row * elements)] = packed[i];
}

KERNEL THREADS(256) void scatter_4(const float4* packed, const u32* rows, float4* table, u32 count, u32 elements) {
  scatter<float4>(packed, rows, table, count, elements);
}

KERNEL THREADS(256) void scatter_1(const float* packed, const u32* rows, float* table, u32 count, u32 elements) {
  scatter<float>(packed, rows, table, count, elements);
}
