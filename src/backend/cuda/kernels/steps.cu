// Samples that are sequences of steps, the last one the candidate (see StepAttention). Norms: a group of `lanes` threads
// (a power of two, at most 32) processes one vector. The other kernels process one place or one step a thread.
#include "prelude.h"

#define SMALLEST_NORM 1e-12f
// Above this, squares could pass the largest number; such vectors are scaled first.
#define LARGE 1e18f
#define SCALE 8.271806125530277e-22f  // 2^-70

DEVICE float group_sum(float value, u32 lanes) {
  for (u32 mask = lanes / 2; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
  return value;
}

// The scale of a vector: 1, or less if it has a number that is large and finite.
DEVICE float group_scale(const float* x, u32 lane, u32 width, u32 lanes) {
  float large = 0, infinite = 0;
  for (u32 d = lane; d < width; d += lanes) {
    float size = x[d] < 0 ? -x[d] : x[d];
    large += size > LARGE ? 1.0f : 0.0f;
    infinite += size > 3.4028235e38f ? 1.0f : 0.0f;
  }
  // All threads of a warp take part in both sums.
  large = group_sum(large, lanes);
  infinite = group_sum(infinite, lanes);
  return large > 0 && infinite == 0 ? SCALE : 1.0f;
}

DEVICE float group_norm(const float* x, float scale, u32 lane, u32 width, u32 lanes) {
  float sum = 0;
  for (u32 d = lane; d < width; d += lanes) sum += (x[d] * scale) * (x[d] * scale);
  return root(group_sum(sum, lanes));
}

KERNEL THREADS(256) void normalise(const float* __restrict__ x, float* __restrict__ y, u32 rows, u32 width, u32 lanes) {
  u32 lane = thread_index() % lanes;
  u32 row = block_index() * (block_threads() / lanes) + thread_index() / lanes;
  if (row >= rows) width = 0;
  x += (u64)row * width;
  y += (u64)row * width;
  float scale = group_scale(x, lane, width, lanes);
  float norm = group_norm(x, scale, lane, width, lanes);
  float divisor = norm < SMALLEST_NORM ? SMALLEST_NORM : norm;
  for (u32 d = lane; d < width; d += lanes) y[d] = x[d] * scale / divisor;
}

// With u = x / |x|, the gradient is (dY - (u dY) u) / |x|; where the norm is replaced, dY over that.
KERNEL THREADS(256) void normalise_backward(const float* __restrict__ x, const float* __restrict__ dY,
                                            float* __restrict__ dX, u32 rows, u32 width, u32 lanes) {
  u32 lane = thread_index() % lanes;
  u32 row = block_index() * (block_threads() / lanes) + thread_index() / lanes;
  if (row >= rows) width = 0;
  x += (u64)row * width;
  dY += (u64)row * width;
  dX += (u64)row * width;
  float scale = group_scale(x, lane, width, lanes);
  float norm = group_norm(x, scale, lane, width, lanes);
  float along = 0;
  if (!(norm < SMALLEST_NORM)) {
    for (u32 d = lane; d < width; d += lanes) along += x[d] * scale / norm * dY[d];
  }
  along = group_sum(along, lanes);
  bool isSmall = norm < SMALLEST_NORM;
  for (u32 d = lane; d < width; d += lanes) {
    dX[d] = isSmall ? dY[d] / SMALLEST_NORM : (dY[d] - along * (x[d] * scale / norm)) / norm * scale;
  }
}

// One thread for each other step: its product with the candidate.
KERNEL THREADS(256) void score_steps(const float* __restrict__ x, float* __restrict__ y, u32 samples, u32 steps,
                                     u32 width) {
  u32 others = steps - 1;
  u32 i = block_index() * block_threads() + thread_index();
  if (i >= samples * others) return;
  const float* first = x + (u64)(i / others) * steps * width;
  const float* step = first + (u64)(i % others) * width;
  const float* candidate = first + (u64)others * width;
  float sum = 0;
  for (u32 d = 0; d < width; d++) sum += step[d] * candidate[d];
  y[i] = sum;
}

// One thread for each place of a sample's steps.
KERNEL THREADS(256) void score_steps_backward(const float* __restrict__ x, const float* __restrict__ dY,
                                              float* __restrict__ dX, u32 samples, u32 steps, u32 width) {
  u32 others = steps - 1;
  u32 i = block_index() * block_threads() + thread_index();
  if (i >= samples * width) return;
  u64 sample = i / width;
  u64 first = sample * steps * width + i % width;
  float candidate = x[first + (u64)others * width];
  float sum = 0;
  for (u32 j = 0; j < others; j++) {
    float slope = dY[sample * others + j];
    u64 at = first + (u64)j * width;
    dX[at] = slope * candidate;
    sum += slope * x[at];
  }
  dX[first + (u64)others * width] = sum;
}

// One thread for each place of a sample's steps.
KERNEL THREADS(256) void weigh_steps(const float* __restrict__ x, const float* __restrict__ weights,
                                     float* __restrict__ y, u32 samples, u32 steps, u32 width) {
  u32 others = steps - 1;
  u32 i = block_index() * block_threads() + thread_index();
  if (i >= samples * width) return;
  u64 sample = i / width;
  u64 first = sample * steps * width + i % width;
  float sum = 0;
  for (u32 j = 0; j < others; j++) sum += weights[sample * others + j] * x[first + (u64)j * width];
  float* to = y + 2 * sample * width + i % width;
  to[0] = sum;
  to[width] = x[first + (u64)others * width];
}

// One thread for each step.
KERNEL THREADS(256) void weigh_steps_backward(const float* __restrict__ x, const float* __restrict__ weights,
                                              const float* __restrict__ dY, float* __restrict__ dX,
                                              float* __restrict__ dWeights, u32 samples, u32 steps, u32 width) {
  u32 others = steps - 1;
  u32 i = block_index() * block_threads() + thread_index();
  if (i >= samples * steps) return;
  u64 sample = i / steps;
  u32 j = i % steps;
  const float* context = dY + 2 * sample * width;
  float* gradient = dX + (u64)i * width;
  if (j == others) {
    for (u32 d = 0; d < width; d++) gradient[d] = context[width + d];
    return;
  }
  const float* step = x + (u64)i * width;
  float weight = weights[sample * others + j];
  float sum = 0;
  for (u32 d = 0; d < width; d++) {
    float value = context[d];
    sum += value * step[d];
    gradient[d] = weight * value;
  }
  dWeights[sample * others + j] = sum;
}
