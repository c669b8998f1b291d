// Factorisation machines (see Backend.factorise). A group of `lanes` threads (a power of two, at most 32) processes one
// sample: each thread some places of its rows, the last of which is the weight.
#include "prelude.h"

KERNEL THREADS(256) void factorise(const float* __restrict__ pooled, const float* __restrict__ bias,
                                   float* __restrict__ y, u32 degree, u32 samples, u32 tables, u32 dim, u32 biasStride,
                                   u32 lanes) {
  u32 lane = thread_index() % lanes;
  u32 sample = block_index() * (block_threads() / lanes) + thread_index() / lanes;
  float sum = 0;
  if (sample < samples) {
    const float* rows = pooled + (u64)sample * tables * dim;
    for (u32 d = lane; d < dim; d += lanes) {
      const bool isWeight = d == dim - 1;
      if (degree == 1 && !isWeight) continue;
      float before = 0;
      for (u32 t = 0; t < tables; t++) {
        float value = rows[(u64)t * dim + d];
        if (!isWeight) sum += before * value;
        before += value;
      }
      if (isWeight) sum += before;
    }
  }
  for (u32 mask = lanes / 2; mask > 0; mask /= 2) sum += shuffle_xor(sum, mask);
  if (lane == 0 && sample < samples) y[sample] = sum + bias[sample * biasStride];
}

KERNEL THREADS(256) void factorise_backward(const float* __restrict__ pooled, const float* __restrict__ dY,
                                            float* __restrict__ dPooled, float* __restrict__ dBias, u32 degree,
                                            u32 samples, u32 tables, u32 dim, u32 lanes) {
  u32 lane = thread_index() % lanes;
  u32 sample = block_index() * (block_threads() / lanes) + thread_index() / lanes;
  if (sample >= samples) return;
  const u64 first = (u64)sample * tables * dim;
  const float gradient = dY[sample];
  for (u32 d = lane; d < dim; d += lanes) {
    const bool isWeight = d == dim - 1;
    float total = 0;
    if (degree == 2 && !isWeight) {
      for (u32 t = 0; t < tables; t++) total += pooled[first + (u64)t * dim + d];
    }
    for (u32 t = 0; t < tables; t++) {
      u64 i = first + (u64)t * dim + d;
      dPooled[i] = isWeight ? gradient : degree == 2 ? gradient * (total - pooled[i]) : 0.0f;
    }
  }
  if (lane == 0 && dBias != 0) dBias[sample] = gradient;
}
