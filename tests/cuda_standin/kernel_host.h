// What the kernels' sources need from a GPU, for a compiler of the host: clang's NVPTX builtins as functions over
// threads.h. CUDA's attributes have no meaning here and are ignored, except that shared memory gets a section of its own.
#pragma once
#include <math.h>
#include <string.h>

extern "C" {
extern unsigned standin_thread, standin_block, standin_threads, standin_blocks;
void standin_barrier();
unsigned standin_shuffle(unsigned value, unsigned lane);
unsigned standin_ballot(bool vote);
}

static inline unsigned __nvvm_read_ptx_sreg_tid_x() { return standin_thread; }
static inline unsigned __nvvm_read_ptx_sreg_ctaid_x() { return standin_block; }
static inline unsigned __nvvm_read_ptx_sreg_ntid_x() { return standin_threads; }
static inline unsigned __nvvm_read_ptx_sreg_nctaid_x() { return standin_blocks; }
static inline void __nvvm_bar_sync(int) { standin_barrier(); }

static inline unsigned __nvvm_shfl_sync_idx_i32(unsigned, unsigned value, unsigned lane, int) {
  return standin_shuffle(value, lane);
}
static inline unsigned __nvvm_shfl_sync_bfly_i32(unsigned, unsigned value, unsigned mask, int) {
  return standin_shuffle(value, standin_thread % 32 ^ mask);
}
static inline float __nvvm_bitcast_i2f(unsigned bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
static inline unsigned bits_of(float value) {
  unsigned bits;
  memcpy(&bits, &value, 4);
  return bits;
}
static inline float __nvvm_shfl_sync_idx_f32(unsigned, float value, unsigned lane, int) {
  return __nvvm_bitcast_i2f(standin_shuffle(bits_of(value), lane));
}
static inline float __nvvm_shfl_sync_bfly_f32(unsigned, float value, unsigned mask, int) {
  return __nvvm_bitcast_i2f(standin_shuffle(bits_of(value), standin_thread % 32 ^ mask));
}
static inline unsigned __nvvm_vote_ballot_sync(unsigned, bool vote) { return standin_ballot(vote); }

static inline float __nvvm_floor_f(float x) { return floorf(x); }
static inline float __nvvm_sqrt_rn_f(float x) { return sqrtf(x); }
static inline float __nvvm_fma_rn_f(float a, float b, float c) { return fmaf(a, b, c); }

#define shared section("kernel_shared")
