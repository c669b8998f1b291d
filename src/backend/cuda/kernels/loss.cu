// Binary cross-entropy with logits, a weight of positives and smoothed labels (see Backend.loss): the gradient of the batch's mean and the sum of these samples' losses, in one block
// so that the sum has a fixed order.
#include "prelude.h"

KERNEL THREADS(1024) void loss(const u32* __restrict__ header, const float* __restrict__ logits,
                               const float* __restrict__ labels, float* __restrict__ dLogits,
                               float* __restrict__ lossSum, u32 samples) {
  SHARED static float sums[32];
  u32 tid = thread_index();
  float batch = (float)header[HEADER_SAMPLES];
  float extra = float_word(header, HEADER_POSITIVE_WEIGHT), smoothing = float_word(header, HEADER_LABEL_SMOOTHING);
  float sum = 0;
  for (u32 s = tid; s < samples; s += block_threads()) {
    float x = logits[s], label = labels[s] + smoothing * (0.5f - labels[s]);
    float positive = (1.0f + extra) * label, both = 1.0f + extra * label;
    float e = exp_of_negative(x < 0 ? x : -x);
    float probability = (x < 0 ? e : 1.0f) / (1.0f + e);
    dLogits[s] = (both * probability - positive) / batch;
    sum += both * (x < 0 ? 0.0f : x) - x * positive + both * log1p_of_unit(e);
  }
  for (u32 mask = 16; mask > 0; mask /= 2) sum += shuffle_xor(sum, mask);
  if (tid % 32 == 0) sums[tid / 32] = sum;
  barrier();
  if (tid >= 32) return;
  sum = tid < block_threads() / 32 ? sums[tid] : 0.0f;
  for (u32 mask = 16; mask > 0; mask /= 2) sum += shuffle_xor(sum, mask);
  if (tid == 0) lossSum[0] += sum;
}
