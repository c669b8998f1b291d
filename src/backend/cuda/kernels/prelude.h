// Shared definitions: CUDA's keywords without CUDA's headers, so that clang alone can compile the kernels, and
// arithmetic that gives the same bits on every GPU (no approximate instructions).
#pragma once

#define KERNEL extern "C" __attribute__((global))
#define DEVICE static inline __attribute__((device, always_inline))
#define SHARED __attribute__((shared))
#define THREADS(n) __attribute__((launch_bounds(n)))
// Blocks of n threads, `blocks` of which must fit on a multiprocessor; limits the registers that ptxas uses.
#define RESIDENT(n, blocks) __attribute__((launch_bounds(n, blocks)))

typedef unsigned int u32;
typedef unsigned long long u64;
typedef float float4 __attribute__((ext_vector_type(4)));

DEVICE u32 thread_index() { return __nvvm_read_ptx_sreg_tid_x(); }
DEVICE u32 block_index() { return __nvvm_read_ptx_sreg_ctaid_x(); }
DEVICE u32 block_threads() { return __nvvm_read_ptx_sreg_ntid_x(); }
DEVICE u32 grid_blocks() { return __nvvm_read_ptx_sreg_nctaid_x(); }
DEVICE void barrier() { __nvvm_bar_sync(0); }

DEVICE float shuffle_xor(float value, u32 mask) { return __nvvm_shfl_sync_bfly_f32(0xffffffffu, value, mask, 31); }
DEVICE u32 shuffle_xor(u32 value, u32 mask) { return __nvvm_shfl_sync_bfly_i32(0xffffffffu, value, mask, 31); }
DEVICE u32 shuffle_from(u32 value, u32 lane) { return __nvvm_shfl_sync_idx_i32(0xffffffffu, value, lane, 31); }
DEVICE u32 ballot(bool vote) { return __nvvm_vote_ballot_sync(0xffffffffu, vote); }
DEVICE bool any(bool vote) { return ballot(vote) != 0; }
DEVICE float shuffle_from(float value, u32 lane) { return __nvvm_shfl_sync_idx_f32(0xffffffffu, value, lane, 31); }

// Words of the header of a batch, as in src/batch_header.ts.
#define HEADER_SAMPLES 0
#define HEADER_LOOKUPS 1
#define HEADER_DISTINCT 2
#define HEADER_LEARNING_RATE 4
#define HEADER_STEP 5
#define HEADER_OPTIMIZER 6
#define HEADER_USED 16 // number of words that row updates use
#define HEADER_POSITIVE_WEIGHT 13
#define HEADER_LABEL_SMOOTHING 14
#define HEADER_ROW_L2 15
DEVICE float float_word(const u32* words, u32 index) { return ((const float*)words)[index]; }

// Codes that launchers pass.
enum Optimizer { SGD = 0, ADAGRAD = 1, ROWWISE_ADAGRAD = 2, ADAM = 3 };
enum Activation { IDENTITY = 0, RELU = 1, SIGMOID = 2 };
#define ADAGRAD_EPSILON 1e-10f

// Kernels over rows have two widths: `_4` moves 16 bytes per load (dim is a multiple of 4, rows are aligned), `_1` one
// word.
template <typename V>
struct Width;
template <>
struct Width<float> {
  static const u32 words = 1;
};
template <>
struct Width<float4> {
  static const u32 words = 4;
};
DEVICE float dot(float a, float b) { return a * b; }
DEVICE float dot(float4 a, float4 b) { return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w; }
DEVICE float root(float a) { return __nvvm_sqrt_rn_f(a); }
DEVICE float4 root(float4 a) {
  float4 r = {root(a.x), root(a.y), root(a.z), root(a.w)};
  return r;
}

// Weights and state of Adagrad and Adam, one step of one element; `rates` are the words of the optimizer in the header.
template <typename V>
DEVICE V adagrad_step(float rate, V gradient, V* squares) {
  V sum = *squares + gradient * gradient;
  *squares = sum;
  return rate * gradient / (root(sum) + ADAGRAD_EPSILON);
}

// Moments of an element; `state` holds mean and mean square of each weight, interleaved.
DEVICE void load_moments(const float* state, float& mean, float& square) {
  mean = state[0];
  square = state[1];
}
DEVICE void load_moments(const float4* state, float4& mean, float4& square) {
  float4 low = state[0], high = state[1];
  mean = (float4){low.x, low.z, high.x, high.z};
  square = (float4){low.y, low.w, high.y, high.w};
}
DEVICE void store_moments(float* state, float mean, float square) {
  state[0] = mean;
  state[1] = square;
}
DEVICE void store_moments(float4* state, float4 mean, float4 square) {
  state[0] = (float4){mean.x, square.x, mean.y, square.y};
  state[1] = (float4){mean.z, square.z, mean.w, square.w};
}

// Adam with the rates of src/optimizer/adam.ts: stepSize, rootCorrection, meanGain, squareGain, epsilon, l2, left.
template <typename V>
DEVICE V adam_weight(const u32* rates, V weight, V gradient, V* state) {
  V mean, square;
  load_moments(state, mean, square);
  V g = gradient + float_word(rates, 5) * weight;
  mean += float_word(rates, 2) * (g - mean);
  square += float_word(rates, 3) * (g * g - square);
  store_moments(state, mean, square);
  return float_word(rates, 6) * weight -
         float_word(rates, 0) * mean / (root(square) * float_word(rates, 1) + float_word(rates, 4));
}

// e^x for x <= 0: x = n ln 2 + r with |r| <= ln 2 / 2, a Taylor polynomial of degree 7 in r (error below 1e-8), times
// 2^n.
DEVICE float exp_of_negative(float x) {
  if (x < -87.0f) x = -87.0f;
  float n = __nvvm_floor_f(x * 1.44269504f + 0.5f);
  float r = __nvvm_fma_rn_f(n, -0.693359375f, x);  // ln 2 in two parts; n times the first is exact
  r = __nvvm_fma_rn_f(n, 2.12194440e-4f, r);
  float p = 1.0f / 5040;
  p = __nvvm_fma_rn_f(p, r, 1.0f / 720);
  p = __nvvm_fma_rn_f(p, r, 1.0f / 120);
  p = __nvvm_fma_rn_f(p, r, 1.0f / 24);
  p = __nvvm_fma_rn_f(p, r, 1.0f / 6);
  p = __nvvm_fma_rn_f(p, r, 0.5f);
  p = __nvvm_fma_rn_f(p, r, 1.0f);
  p = __nvvm_fma_rn_f(p, r, 1.0f);
  return p * __nvvm_bitcast_i2f(((int)n + 127) << 23);
}

DEVICE float sigmoid(float x) {
  float e = exp_of_negative(x < 0 ? x : -x);
  return (x < 0 ? e : 1.0f) / (1.0f + e);
}

// log(1 + e) for e in [0, 1]: 2 atanh(s) with s = e / (2 + e) <= 1/3, eight terms (error below 1e-9 relative).
DEVICE float log1p_of_unit(float e) {
  float s = e / (2.0f + e);
  float z = s * s;
  float p = 1.0f / 15;
  p = __nvvm_fma_rn_f(p, z, 1.0f / 13);
  p = __nvvm_fma_rn_f(p, z, 1.0f / 11);
  p = __nvvm_fma_rn_f(p, z, 1.0f / 9);
  p = __nvvm_fma_rn_f(p, z, 1.0f / 7);
  p = __nvvm_fma_rn_f(p, z, 1.0f / 5);
  p = __nvvm_fma_rn_f(p, z, 1.0f / 3);
  return 2.0f * __nvvm_fma_rn_f(p * z, s, s);
}
