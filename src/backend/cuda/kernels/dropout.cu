// Dropout, and its gradient: the factor of a value follows from its position in the batch and the step.
#include "prelude.h"

// `mix` of src/random.ts.
DEVICE u32 mix(u32 x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

// `first` is the position in the batch of the first word; values with bits below `dropped` become 0.
KERNEL THREADS(256) void dropout(const u32* header, const float* __restrict__ x, float* __restrict__ y, u32 words,
                                 u32 first, u32 key, u32 dropped, u32 kept) {
  u32 i = block_index() * block_threads() + thread_index();
  if (i >= words) return;
  u32 step = header[HEADER_STEP];
  u32 bits = mix((first + i) ^ mix(key + 0x9e3779b9u * step));
  float factor = step == 0 ? 1.0f : bits < dropped ? 0.0f : __nvvm_bitcast_i2f((int)kept);
  y[i] = x[i] * factor;
}
