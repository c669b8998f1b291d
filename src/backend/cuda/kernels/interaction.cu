// The dot interaction: one sample per block, with its vectors in shared memory. Without a bottom vector (null) all
// vectors are pooled rows and all of them are part of the output. Vectors are padded to an odd number of elements, so
// that threads which read different vectors use different banks.
#include "prelude.h"

#define BLOCK 32
#define TILE 4
// Words that a thread reads before it uses the first; otherwise it would wait for memory for each.
#define AHEAD 4

extern SHARED float4 memory[];

DEVICE u32 at_most(u32 i, u32 most) { return i < most ? i : most; }
DEVICE u32 below(u32 i) { return i * (i - 1) / 2; }  // pairs before those of vector i

// Number of vectors of a sample, and of those that are passed on to the output.
DEVICE u32 count(const void* bottom, u32 tables) { return bottom ? tables + 1 : tables; }
DEVICE u32 passed(const void* bottom, u32 tables) { return bottom ? 1 : tables; }

// The output of the bottom MLP is the first vector; the pooled rows of the tables follow.
template <typename V>
DEVICE void load_vectors(V* vectors, const V* __restrict__ bottom, const V* __restrict__ pooled, u32 tables,
                         u32 elements, u32 stride) {
  u32 bottomElements = bottom ? elements : 0, total = bottomElements + tables * elements;
  const V* first = bottom + (u64)block_index() * bottomElements;
  const V* others = pooled + (u64)block_index() * tables * elements;
  for (u32 begin = thread_index(); begin < total; begin += AHEAD * block_threads()) {
    V read[AHEAD];
#pragma unroll
    for (u32 n = 0; n < AHEAD; n++) {
      u32 i = begin + n * block_threads();
      if (i < total) read[n] = i < bottomElements ? first[i] : others[i - bottomElements];
    }
#pragma unroll
    for (u32 n = 0; n < AHEAD; n++) {
      u32 i = begin + n * block_threads(), vector = i / elements;
      if (i < total) vectors[vector * stride + i - vector * elements] = read[n];
    }
  }
}

// Copies `total` words to shared memory.
DEVICE void load_words(float* target, const float* __restrict__ source, u32 total) {
  for (u32 begin = thread_index(); begin < total; begin += AHEAD * block_threads()) {
    float read[AHEAD];
#pragma unroll
    for (u32 n = 0; n < AHEAD; n++) {
      u32 i = begin + n * block_threads();
      if (i < total) read[n] = source[i];
    }
#pragma unroll
    for (u32 n = 0; n < AHEAD; n++) {
      u32 i = begin + n * block_threads();
      if (i < total) target[i] = read[n];
    }
  }
}

// A thread multiplies TILE vectors by TILE vectors at a time: each product needs two elements from shared memory, whose
// bandwidth is the limit, and a tile of 16 products only eight. Rows of the output are `rowWords` apart; words behind
// the products stay as they are.
template <typename V>
DEVICE void forward(const V* __restrict__ bottom, const V* __restrict__ pooled, float* __restrict__ output, u32 tables,
                    u32 elements, u32 rowWords) {
  V* vectors = (V*)memory;
  u32 stride = elements | 1, dim = elements * Width<V>::words, vectorCount = count(bottom, tables);
  u32 pairs = below(vectorCount), passedWords = passed(bottom, tables) * dim;
  float* products = (float*)(vectors + vectorCount * stride);
  load_vectors(vectors, bottom, pooled, tables, elements, stride);
  barrier();
  // Tile (r, c), with c <= r < tiles, has the vectors r, r + tiles, ... and c, c + tiles, ...: neighbours use other banks.
  u32 tiles = (vectorCount + TILE - 1) / TILE, tileRow = 0, tileColumn = thread_index();
  for (;; tileColumn += block_threads()) {
    for (; tileColumn > tileRow; tileRow++) tileColumn -= tileRow + 1;
    if (tileRow >= tiles) break;
    u32 left[TILE], right[TILE];  // places of the vectors; those after the last one are not used
#pragma unroll
    for (u32 n = 0; n < TILE; n++) {
      left[n] = at_most(tileRow + n * tiles, vectorCount - 1) * stride;
      right[n] = at_most(tileColumn + n * tiles, vectorCount - 1) * stride;
    }
    float sums[TILE][TILE] = {};
#pragma clang loop unroll(disable)
    for (u32 k = 0; k < elements; k++) {
      V rows[TILE];
#pragma unroll
      for (u32 r = 0; r < TILE; r++) rows[r] = vectors[left[r] + k];
#pragma unroll
      for (u32 c = 0; c < TILE; c++) {
        V column = vectors[right[c] + k];
#pragma unroll
        for (u32 r = 0; r < TILE; r++) sums[r][c] += dot(rows[r], column);
      }
    }
#pragma unroll
    for (u32 r = 0; r < TILE; r++) {
#pragma unroll
      for (u32 c = 0; c < TILE; c++) {
        if (tileRow == tileColumn && c >= r) continue;  // a vector with itself, or a pair that has been written
        u32 i = tileRow + r * tiles, j = tileColumn + c * tiles;
        if (i < vectorCount && j < vectorCount) products[i > j ? below(i) + j : below(j) + i] = sums[r][c];
      }
    }
  }
  barrier();
  float* row = output + (u64)block_index() * rowWords;
  for (u32 k = thread_index(); k < passedWords; k += block_threads()) {
    u32 vector = k / dim;
    row[k] = ((float*)(vectors + vector * stride))[k - vector * dim];
  }
  for (u32 pair = thread_index(); pair < pairs; pair += block_threads()) row[passedWords + pair] = products[pair];
}

// An element at any multiple of 4 bytes.
template <typename V>
DEVICE V unaligned(const float* words) {
  V element;
  for (u32 k = 0; k < Width<V>::words; k++) ((float*)&element)[k] = words[k];
  return element;
}

// A thread computes an element of the gradients of TILE vectors, so that it reads the element of each other vector once
// for all of them. Gradients are sums in the order of the other vectors.
template <typename V>
DEVICE void backward(const V* __restrict__ bottom, const V* __restrict__ pooled, const float* __restrict__ dOutput,
                     V* __restrict__ dBottom, V* __restrict__ dPooled, u32 tables, u32 elements, u32 rowWords) {
  V* vectors = (V*)memory;
  u32 stride = elements | 1, dim = elements * Width<V>::words, vectorCount = count(bottom, tables);
  u32 pairs = below(vectorCount), passedWords = passed(bottom, tables) * dim;
  float* gradients = (float*)(vectors + vectorCount * stride);
  load_vectors(vectors, bottom, pooled, tables, elements, stride);
  const float* row = dOutput + (u64)block_index() * rowWords;
  load_words(gradients, row + passedWords, pairs);
  if (thread_index() == 0) gradients[pairs] = 0;  // of a vector and itself
  barrier();
  u32 tiles = (vectorCount + TILE - 1) / TILE;
  for (u32 item = thread_index(); item < tiles * elements; item += block_threads()) {
    u32 tile = item / elements, element = item - tile * elements, first = tile * TILE;
    V sums[TILE];
    u32 vector[TILE];  // those after the last one are not used
#pragma unroll
    for (u32 r = 0; r < TILE; r++) {
      u32 i = vector[r] = at_most(first + r, vectorCount - 1);
      sums[r] = i * dim < passedWords ? unaligned<V>(row + (i * elements + element) * Width<V>::words) : V(0.0f);
    }
#pragma clang loop unroll(disable)
    for (u32 j = 0, before = 0; j < vectorCount; before += j++) {  // `before` is below(j)
      V other = vectors[j * stride + element];
      float factors[TILE];  // all are read before the first is used
#pragma unroll
      for (u32 r = 0; r < TILE; r++) {
        u32 i = vector[r], pair = j < i ? below(i) + j : before + i;
        factors[r] = gradients[j == i ? pairs : pair];
      }
#pragma unroll
      for (u32 r = 0; r < TILE; r++) sums[r] += factors[r] * other;
    }
#pragma unroll
    for (u32 r = 0; r < TILE; r++) {
      u32 i = first + r;
      if (i >= vectorCount) break;
      if (!bottom) {
        dPooled[((u64)block_index() * tables + i) * elements + element] = sums[r];
      } else if (i == 0) {
        dBottom[(u64)block_index() * elements + element] = sums[r];
      } else {
        dPooled[((u64)block_index() * tables + i - 1) * elements + element] = sums[r];
      }
    }
  }
}

KERNEL THREADS(BLOCK) void interact_4(const float4* bottom, const float4* pooled, float* output, u32 tables,
                                    u32 elements, u32 rowWords) {
  forward<float4>(bottom, pooled, output, tables, elements, rowWords);
}

KERNEL THREADS(BLOCK) void interact_1(const float* bottom, const float* pooled, float* output, u32 tables,
                                    u32 elements, u32 rowWords) {
  forward<float>(bottom, pooled, output, tables, elements, rowWords);
}

KERNEL THREADS(BLOCK) void interact_backward_4(const float4* bottom, const float4* pooled, const float* dOutput,
                                             float4* dBottom, float4* dPooled, u32 tables, u32 elements, u32 rowWords) {
  backward<float4>(bottom, pooled, dOutput, dBottom, dPooled, tables, elements, rowWords);
}

KERNEL THREADS(BLOCK) void interact_backward_1(const float* bottom, const float* pooled, const float* dOutput,
                                             float* dBottom, float* dPooled, u32 tables, u32 elements, u32 rowWords) {
  backward<float>(bottom, pooled, dOutput, dBottom, dPooled, tables, elements, rowWords);
}
