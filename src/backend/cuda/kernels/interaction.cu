// The dot interaction: one sample per block, with its vectors in shared memory. Without a bottom vector (null) all
// vectors are pooled rows and all of them are part of the output. Vectors are padded to an odd number of elements, so
// that threads which read different vectors use different banks.
#include "prelude.h"

extern SHARED float4 memory[];

DEVICE u32 below(u32 i) { return i * (i - 1) / 2; }  // pairs before those of vector i

// Number of vectors of a sample, and of those that are passed on to the output.
DEVICE u32 count(const void* bottom, u32 tables) { return bottom ? tables + 1 : tables; }
DEVICE u32 passed(const void* bottom, u32 tables) { return bottom ? 1 : tables; }

// The output of the bottom MLP is the first vector; the pooled rows of the tables follow.
template <typename V>
DEVICE void load_vectors(V* vectors, const V* __restrict__ bottom, const V* __restrict__ pooled, u32 tables,
                         u32 elements, u32 stride) {
  u32 bottomElements = bottom ? elements : 0;
  const V* first = bottom + (u64)block_index() * bottomElements;
  const V* others = pooled + (u64)block_index() * tables * elements;
  for (u32 i = thread_index(); i < bottomElements + tables * elements; i += block_threads()) {
    u32 vector = i / elements;
    vectors[vector * stride + i - vector * elements] = i < bottomElements ? first[i] : others[i - bottomElements];
  }
}

template <typename V>
DEVICE void forward(const V* __restrict__ bottom, const V* __restrict__ pooled, float* __restrict__ output, u32 tables,
                    u32 elements) {
  V* vectors = (V*)memory;
  u32 stride = elements | 1, dim = elements * Width<V>::words, pairs = below(count(bottom, tables));
  u32 passedWords = passed(bottom, tables) * dim;
  load_vectors(vectors, bottom, pooled, tables, elements, stride);
  barrier();
  float* row = output + (u64)block_index() * (passedWords + pairs);
  for (u32 k = thread_index(); k < passedWords; k += block_threads()) {
    u32 vector = k / dim;
    row[k] = ((float*)(vectors + vector * stride))[k - vector * dim];
  }
  u32 i = 1, j = thread_index();
  for (u32 pair = thread_index(); pair < pairs; pair += block_threads()) {
    for (; j >= i; i++) j -= i;
    float sum = 0;
    for (u32 k = 0; k < elements; k++) sum += dot(vectors[i * stride + k], vectors[j * stride + k]);
    row[passedWords + pair] = sum;
    j += block_threads();
  }
}

// An element at any multiple of 4 bytes.
template <typename V>
DEVICE V unaligned(const float* words) {
  V element;
  for (u32 k = 0; k < Width<V>::words; k++) ((float*)&element)[k] = words[k];
  return element;
}

template <typename V>
DEVICE void backward(const V* __restrict__ bottom, const V* __restrict__ pooled, const float* __restrict__ dOutput,
                     V* __restrict__ dBottom, V* __restrict__ dPooled, u32 tables, u32 elements) {
  V* vectors = (V*)memory;
  u32 stride = elements | 1, dim = elements * Width<V>::words, vectorCount = count(bottom, tables);
  u32 pairs = below(vectorCount), passedWords = passed(bottom, tables) * dim;
  float* gradients = (float*)(vectors + vectorCount * stride);
  load_vectors(vectors, bottom, pooled, tables, elements, stride);
  const float* row = dOutput + (u64)block_index() * (passedWords + pairs);
  for (u32 k = thread_index(); k < pairs; k += block_threads()) gradients[k] = row[passedWords + k];
  barrier();
  for (u32 item = thread_index(); item < vectorCount * elements; item += block_threads()) {
    u32 i = item / elements, element = item - i * elements;
    V sum = 0.0f;
    if (i * dim < passedWords) sum = unaligned<V>(row + item * Width<V>::words);
    for (u32 j = 0; j < vectorCount; j++) {
      if (j == i) continue;
      u32 pair = j < i ? below(i) + j : below(j) + i;
      sum += gradients[pair] * vectors[j * stride + element];
    }
    if (!bottom) {
      dPooled[(u64)block_index() * tables * elements + item] = sum;
    } else if (i == 0) {
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
