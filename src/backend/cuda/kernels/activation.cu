// What surrounds the matrix products of a layer: bias and activation after it, their gradients before it.
#include "prelude.h"

DEVICE float activate(float x, u32 activation) {
  if (activation == RELU) return x < 0 ? 0.0f : x;  // NaN stays NaN: max and x > 0 would make it 0
  if (activation == SIGMOID) return sigmoid(x);
  return x;
}
DEVICE float4 activate(float4 x, u32 activation) {
  float4 r = {activate(x.x, activation), activate(x.y, activation), activate(x.z, activation),
              activate(x.w, activation)};
  return r;
}

// y (samples, outputs) in place; `elements` is a row of y in units of V.
template <typename V>
DEVICE void forward(V* __restrict__ y, const V* __restrict__ bias, u32 total, u32 elements, u32 activation) {
  u32 i = block_index() * block_threads() + thread_index();
  if (i < total) y[i] = activate(y[i] + bias[i % elements], activation);
}

KERNEL THREADS(256) void activation_forward_4(float4* y, const float4* bias, u32 total, u32 elements, u32 activation) {
  forward<float4>(y, bias, total, elements, activation);
}

KERNEL THREADS(256) void activation_forward_1(float* y, const float* bias, u32 total, u32 elements, u32 activation) {
  forward<float>(y, bias, total, elements, activation);
}

// dY (samples, outputs) becomes the gradient before the activation; dBias is its sum over the samples. A block has 8
// columns (one memory sector of each row) and 64 rows at a time; sums have a fixed order.
KERNEL THREADS(512) void activation_backward(float* __restrict__ dY, const float* __restrict__ y,
                                             float* __restrict__ dBias, u32 samples, u32 outputs, u32 activation) {
  SHARED static float sums[16 * 8];
  u32 tid = thread_index();
  u32 column = block_index() * 8 + tid % 8;
  float sum = 0;
  if (column < outputs) {
    for (u32 sample = tid / 8; sample < samples; sample += 64) {
      u64 i = (u64)sample * outputs + column;
      float gradient = dY[i];
      if (activation != IDENTITY) {
        float value = y[i];
        if (activation == RELU) gradient = value <= 0 ? 0.0f : gradient;  // also NaN's
        if (activation == SIGMOID) gradient *= value * (1.0f - value);
        dY[i] = gradient;
      }
      sum += gradient;
    }
  }
  sum += shuffle_xor(sum, 8);
  sum += shuffle_xor(sum, 16);
  if (tid % 32 < 8) sums[tid / 32 * 8 + tid % 8] = sum;
  barrier();
  if (tid >= 8 || column >= outputs) return;
  sum = sums[tid];
  for (u32 warp = 1; warp < 16; warp++) sum += sums[warp * 8 + tid];
  dBias[column] = sum;
}
