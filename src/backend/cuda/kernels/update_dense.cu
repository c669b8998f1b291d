// Updates all dense parameters in one launch. Parameters, gradients and state are one vector each.
#include "prelude.h"

KERNEL THREADS(256) void update_dense(const u32* __restrict__ header, float* __restrict__ parameters,
                                      const float* __restrict__ gradients, float* __restrict__ state, u32 words,
                                      u32 optimizer) {
  u32 i = block_index() * block_threads() + thread_index();
  if (i >= words) return;
  float g = gradients[i], rate = float_word(header, HEADER_LEARNING_RATE);
  if (optimizer == ADAM) parameters[i] = adam_weight(header + HEADER_OPTIMIZER, parameters[i], g, state + 2 * i);
  else parameters[i] -= optimizer == SGD ? rate * g : adagrad_step(rate, g, state + i);
}
