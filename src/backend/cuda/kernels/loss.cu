// Binary cross-entropy with logits, weights and label smoothing (see Backend.loss): the gradient of the mean
// loss of the batch, and the sum of the losses. A block processes PART_SAMPLES samples in a fixed order. A single block
// adds its sum to lossSum; several blocks write theirs to `sums` for loss_total.
#include "prelude.h"

#define PART_SAMPLES 4096

// Sum over the threads of the block, returned to its first thread.
DEVICE float block_total(float* sums, float sum) {
  u32 tid = thread_index();
  for (u32 mask = 16; mask > 0; mask /= 2) sum += shuffle_xor(sum, mask);
  if (tid % 32 == 0) sums[tid / 32] = sum;
  barrier();
  if (tid >= 32) return 0;
  sum = tid < block_threads() / 32 ? sums[tid] : 0.0f;
  for (u32 mask = 16; mask > 0; mask /= 2) sum += shuffle_xor(sum, mask);
  return sum;
}

KERNEL THREADS(1024) void loss(const u32* __restrict__ header, const float* __restrict__ logits,
                               const float* __restrict__ labels, float* __restrict__ dLogits,
                               float* __restrict__ lossSum, float* __restrict__ sums, u32 samples) {
  SHARED static float partial[32];
  u32 tid = thread_index();
  float batch = (float)header[HEADER_SAMPLES];
  float extra = float_word(header, HEADER_POSITIVE_WEIGHT), smoothing = float_word(header, HEADER_LABEL_SMOOTHING);
  float sum = 0;
  u32 begin = block_index() * PART_SAMPLES;
  u32 end = samples - begin < PART_SAMPLES ? samples : begin + PART_SAMPLES;
  for (u32 s = begin + tid; s < end; s += block_threads()) {
    float x = logits[s], word = labels[s], raw = word > 0 ? 1.0f : 0.0f;
    float weight = word == 0 ? 1.0f : word < 0 ? -word : word;
    float label = raw + smoothing * (0.5f - raw);
    float positive = (1.0f + extra) * label, both = 1.0f + extra * label;
    float e = exp_of_negative(x < 0 ? x : -x);
    float probability = (x < 0 ? e : 1.0f) / (1.0f + e);
    dLogits[s] = weight * (both * probability - positive) / batch;
    sum += weight * (both * (x < 0 ? 0.0f : x) - x * positive + both * log1p_of_unit(e));
  }
  sum = block_total(partial, sum);
  if (tid > 0) return;
  if (grid_blocks() == 1) lossSum[0] += sum;
  else sums[block_index()] = sum;
}

// Adds the sums of `parts` blocks to lossSum.
KERNEL THREADS(1024) void loss_total(const float* __restrict__ sums, float* __restrict__ lossSum, u32 parts) {
  SHARED static float partial[32];
  u32 tid = thread_index();
  float sum = 0;
  for (u32 part = tid; part < parts; part += block_threads()) sum += sums[part];
  sum = block_total(partial, sum);
  if (tid == 0) lossSum[0] += sum;
}
