// The dot interaction: one sample a block, its vectors in shared memory. A vector's place is padded to an odd number of
// elements, so that threads which read different vectors use different banks.
#include "prelude.h"

extern SHARED float4 memory[];

DEVICE u32 below(u32 i) { return i * (i - 1) / 2; }  // pairs of all vectors before vector i

// Vector 0 is the bottom MLP's output, vector t + 1 the pooled rows of table t.
template <typename V>
DEVICE void load_vectors(V* vectors, const V* __restrict__ bottom, const V* __restrict__ pooled, u32 tables,
                         u32 elements, u32 stride) {
  const V* first = bottom + (u64)block_index() * elements;
  const V* others = pooled + (u64)block_index() * tables * elements;
  for (u32 i = thread_index(); i < (tables + 1) * elements; i += block_threads()) {
    u32 vector = i / elements;
    vectors[vector * stride + i - vector * elements] = vector == 0 ? first[i] : others[i - elements];
  }
}

template <typename V>
DEVICE void forward(const V* __restrict__ bottom, const V* __restrict__ pooled, float* __restrict__ output, u32 tables,
                    u32 elements) {
  V* vectors = (V*)memory;
  u32 stride = elements | 1, dim = elements * Width<V>::words;
  load_vectors(vectors, bottom, pooled, tables, elements, stride);
  barrier();
  float* row = output + (u64)block_index() * (dim + below(tables + 1));
  for (u32 k = thread_index(); k < dim; k += block_threads()) row[k] = ((float*)vectors)[k];
  u32 i = 1, j = thread_index();
  for (u32 pair = thread_index(); pair < below(tables + 1); pair += block_threads()) {
    for (; j >= i; i++) j -= i;
    float sum = 0;
    for (u32 k = 0; k < elements; k++) sum += dot(vectors[i * stride + k], vectors[j * stride + k]);
    row[dim + pair] = sum;
    j += block_threads();
  }
}

template <typename V>
DEVICE void backward(const V* __restrict__ bottom, const V* __restrict__ pooled, const float* __restrict__ dOutput,
                     V* __restrict__ dBottom, V* __restrict__ dPooled, u32 tables, u32 elements) {
  V* vectors = (V*)memory;
  u32 stride = elements | 1, dim = elements * Width<V>::words, width = dim + below(tables + 1);
  float* gradients = (float*)(vectors + (tables + 1) * stride);
  load_vectors(vectors, bottom, pooled, tables, elements, stride);
  const float* row = dOutput + (u64)block_index() * width;
  for (u32 k = thread_index(); k < width; k += block_threads()) gradients[k] = row[k];
  barrier();
  for (u32 item = thread_index(); item < (tables + 1) * elements; item += block_threads()) {
    u32 i = item / elements, element = item - i * elements;
    V sum = 0.0f;
    if (i == 0) sum = ((V*)gradients)[element];
    for (u32 j = 0; j <= tables; j++) {
      if (j == i) continue;
      u32 pair = j < i ? below(i) + j : below(j) + i;
      sum += gradients[dim + pair] * vectors[j * stride + element];
    }
    if (i == 0) {
      dBottom[(u64)block_index() * elements + element] = sum;
    } else {
      dPooled[(u64)block_index() * tables * elements + item - elements] = sum;
    }
  }
}

KERNEL THREADS(256) void interact_4(const float4* bottom, const float4* pooled, float* output, u32 tables,
                                    u32 elements) {
  forward<float4>(bottom, pooled, output, tables, elements);
}

KERNEL THREADS(256) void interact_1(const float* bottom, const float* pooled, float* output, u32 tables, u32 elements) {
  forward<float>(bottom, pooled, output, tables, elements);
}

KERNEL THREADS(256) void interact_backward_4(const float4* bottom, const float4* pooled, const float* dOutput,
                                             float4* dBottom, float4* dPooled, u32 tables, u32 elements) {
  backward<float4>(bottom, pooled, dOutput, dBottom, dPooled, tables, elements);
}

KERNEL THREADS(256) void interact_backward_1(const float* bottom, const float* pooled, const float* dOutput,
                                             float* dBottom, float* dPooled, u32 tables, u32 elements) {
  backward<float>(bottom, pooled, dOutput, dBottom, dPooled, tables, elements);
}
