// Bias and activation after the matrix product of a layer, and their gradients before it.
#include "prelude.h"

DEVICE float activate(float x, u32 activation) {
  if (activation == RELU) return x < 0 ? 0.0f : x;  // NaN stays NaN; max(x, 0) and x > 0 would turn it into 0
  if (activation == SIGMOID) return sigmoid(x);
  return x;
}
DEVICE float4 activate(float4 x, u32 activation) {
  float4 r = {activate(x.x, activation), activate(x.y, activation), activate(x.z, activation),
              activate(x.w, activation)};
  return r;
}

// y (samples, outputs) is updated in place; `elements` is the number of V in a row of y.
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

// Turns N elements of dY, `stride` apart, into gradients before the activation. Returns `sum` plus these gradients,
// added in order. All elements are read before the first is used; otherwise a thread would wait for memory N times.
template <u32 N, Activation A>
DEVICE float backward(float* __restrict__ dY, const float* __restrict__ y, u64 first, u64 stride, float sum) {
  float gradients[N];
#pragma unroll
  for (u32 n = 0; n < N; n++) {
    float gradient = dY[first + n * stride];
    if (A == RELU) gradient = y[first + n * stride] <= 0 ? 0.0f : gradient;  // including NaN
    if (A == SIGMOID) {
      float value = y[first + n * stride];
      gradient *= value * (1.0f - value);
    }
    gradients[n] = gradient;
  }
#pragma unroll
  for (u32 n = 0; n < N; n++) {
    if (A != IDENTITY) dY[first + n * stride] = gradients[n];
    sum += gradients[n];
  }
  return sum;
}

// The same for `rows` elements.
template <Activation A>
DEVICE float backward(float* __restrict__ dY, const float* __restrict__ y, u64 first, u64 stride, u32 rows) {
  float sum = 0;
  for (; rows >= 8; rows -= 8, first += 8 * stride) sum = backward<8, A>(dY, y, first, stride, sum);
#pragma clang loop unroll(disable)
  for (; rows > 0; rows--, first += stride) sum = backward<1, A>(dY, y, first, stride, sum);
  return sum;
}

// dY (samples, outputs) becomes the gradient before the activation. sums (parts, outputs) receives the column sums of
// each part of the rows; a part has 4096 / width rows, a single part has all. A block processes `width` columns (8, 16
// or 32) of a part, of which there are `tiles`, and 512 / width rows at a time. With 32 columns a warp reads contiguous
// memory of a row; with 8, narrow layers still keep all threads busy. Sums have a fixed order.
KERNEL THREADS(512) void activation_backward(float* __restrict__ dY, const float* __restrict__ y,
                                             float* __restrict__ sums, u32 samples, u32 outputs, u32 activation,
                                             u32 width, u32 tiles) {
  SHARED static float partial[16 * 32];
  u32 tid = thread_index();
  u32 lane = tid % width, row = tid / width, step = 512 / width, partRows = 8 * step;
  u32 part = block_index() / tiles, column = (block_index() - part * tiles) * width + lane;
  u32 begin = part * partRows;
  u32 left = samples - begin, count = left < partRows ? left : partRows;
  float sum = 0;
  if (column < outputs) {
    u64 first = (u64)(begin + row) * outputs + column, stride = (u64)step * outputs;
    u32 rows = (count + step - 1 - row) / step;  // rows of this thread
    if (activation == IDENTITY) sum = backward<IDENTITY>(dY, y, first, stride, rows);
    if (activation == RELU) sum = backward<RELU>(dY, y, first, stride, rows);
    if (activation == SIGMOID) sum = backward<SIGMOID>(dY, y, first, stride, rows);
  }
  for (u32 mask = width; mask < 32; mask *= 2) sum += shuffle_xor(sum, mask);
  if (tid % 32 < width) partial[tid / 32 * width + lane] = sum;
  barrier();
  if (tid >= width || column >= outputs) return;
  sum = partial[tid];
  for (u32 warp = 1; warp < 16; warp++) sum += partial[warp * width + tid];
  sums[(u64)part * outputs + column] = sum;
}
