// The update of the rows a batch touched, over its segment list: every distinct row has one writer, no atomics, and the
// order of every sum is fixed by the list.
//
// A group of `lanes` threads (a power of two, at most 32) has one row; a block of 256 threads takes a tile of
// 256 / lanes rows. Rows of at most SHORT lookups are summed by their own group. The few that most of a batch hits
// (tables of three rows) would keep one group busy for long, so all groups of the block share each of them: group g
// sums lookups g, g + groups, ..., and the partial sums are added in the order of the groups.
#include "prelude.h"

#define BLOCK 256
#define SHORT 32

// Everything but the place in the segment list that an update of a row needs. All threads of a warp call its functions
// together: they exchange values.
template <typename V, Optimizer optimizer>
struct Rows {
  const u32* bags;
  const V* dPooled;
  V* table;
  V* state;  // Adagrad: as the table; row-wise Adagrad: one float a row; Adam: two for each of the table
  float rate;
  const u32* rates;  // the optimizer's words of the header
  u32 elements, lanes;
  u32 lane, leader;  // of this thread in its group, and the first of the group in the warp

  // Sum over lookups [first, last) in order, one element of the row; no lookups and any element for idle threads. The
  // group loads its next bags together, one a lane, and passes them round.
  __attribute__((device)) V sum(u32 first, u32 last, u32 element) const {
    V total = 0.0f;
    for (u32 begin = first; any(begin < last); begin += lanes) {
      u32 bag = begin + lane < last ? bags[begin + lane] : 0;
      u32 count = begin >= last ? 0 : last - begin < lanes ? last - begin : lanes;
      u32 most = count;
      for (u32 mask = 16; mask >= lanes; mask /= 2) {
        u32 other = shuffle_xor(most, mask);
        if (other > most) most = other;
      }
      for (u32 k = 0; k < most; k++) {
        u32 next = shuffle_from(bag, leader + k);
        if (k < count && element < elements) total += dPooled[(u64)next * elements + element];
      }
    }
    return total;
  }

  // Sum over every step-th lookup: a group's part of a row that the whole block has.
  __attribute__((device)) V strided_sum(u32 first, u32 last, u32 step, u32 element) const {
    V total = 0.0f;
#pragma unroll 4
    for (u32 k = first; k < last; k += step) total += dPooled[(u64)bags[k] * elements + element];
    return total;
  }

  // Row-wise Adagrad: adds the mean of the squares (each lane brings its part) to the row's state and returns the step
  // for a gradient of one. `active` threads have a row.
  __attribute__((device)) float scale(bool active, u32 row, float squares) const {
    for (u32 mask = lanes / 2; mask > 0; mask /= 2) squares += shuffle_xor(squares, mask);
    float total = 0;
    if (active && lane == 0) {
      float* kept = (float*)state + row;
      total = *kept + squares / (float)(elements * Width<V>::words);
      *kept = total;
    }
    return rate / (root(shuffle_from(total, leader)) + ADAGRAD_EPSILON);
  }

  // One element of the row moves against its gradient, by `scaled` times it for row-wise Adagrad.
  __attribute__((device)) void apply(u32 row, u32 element, V gradient, float scaled) const {
    u64 i = (u64)row * elements + element;
    if (optimizer == ADAM) table[i] = adam_weight(rates, table[i], gradient, state + 2 * i);
    else if (optimizer == ADAGRAD) table[i] -= adagrad_step(rate, gradient, state + i);
    else table[i] -= (optimizer == ROWWISE_ADAGRAD ? scaled : rate) * gradient;
  }

  // The update of a row whose lookups the group sums alone; none for idle threads.
  __attribute__((device)) void update_short(u32 row, u32 first, u32 last) const {
    bool active = first < last;
    V gradient = 0.0f;
    float scaled = 0;
    if (optimizer == ROWWISE_ADAGRAD) {
      float squares = 0;
      for (u32 base = 0; base < elements; base += lanes) {
        gradient = sum(first, last, base + lane);
        squares += dot(gradient, gradient);
      }
      scaled = scale(active, row, squares);
    }
    for (u32 base = 0; base < elements; base += lanes) {
      u32 element = base + lane;
      if (optimizer != ROWWISE_ADAGRAD || elements > lanes) gradient = sum(first, last, element);
      if (active && element < elements) apply(row, element, gradient, scaled);
    }
  }

  // One element of the gradient of a row that the whole block sums; the total is the first group's.
  __attribute__((device)) V block_sum(V* partial, u32 first, u32 last, u32 element) const {
    u32 tid = thread_index(), group = tid / lanes, groups = BLOCK / lanes;
    if (element < elements) partial[tid] = strided_sum(first + group, last, groups, element);
    barrier();
    V total = 0.0f;
    if (group == 0 && element < elements) {
      for (u32 other = 0; other < groups; other++) total += partial[other * lanes + lane];
    }
    barrier();
    return total;
  }

  // The update of a row that the whole block sums.
  __attribute__((device)) void update_long(V* partial, u32 row, u32 first, u32 last) const {
    bool writes = thread_index() < lanes;
    V gradient = 0.0f;
    float scaled = 0;
    if (optimizer == ROWWISE_ADAGRAD) {
      float squares = 0;
      for (u32 base = 0; base < elements; base += lanes) {
        gradient = block_sum(partial, first, last, base + lane);
        squares += dot(gradient, gradient);
      }
      scaled = scale(writes, row, squares);
    }
    for (u32 base = 0; base < elements; base += lanes) {
      u32 element = base + lane;
      if (optimizer != ROWWISE_ADAGRAD || elements > lanes) gradient = block_sum(partial, first, last, element);
      if (writes && element < elements) apply(row, element, gradient, scaled);
    }
  }
};

// Share of the lookups before rank `rank`: lookups * rank / ranks without overflow.
DEVICE u32 share(u32 lookups, u32 rank, u32 ranks) {
  return lookups / ranks * rank + lookups % ranks * rank / ranks;
}

template <typename V, Optimizer optimizer>
DEVICE void update(const u32* __restrict__ header, const u32* __restrict__ segments, const u32* __restrict__ bags,
                   const V* __restrict__ dPooled, V* __restrict__ table, V* __restrict__ state, u32 elements,
                   u32 lanes, u32 rank, u32 ranks) {
  SHARED static u32 head[HEADER_USED];
  SHARED static u32 pairs[2 * BLOCK + 2];
  SHARED static u32 longSegments[BLOCK / 32];
  SHARED static V partial[BLOCK];
  const u32 tid = thread_index(), group = tid / lanes, groups = BLOCK / lanes;
  if (tid < HEADER_USED) head[tid] = header[tid];
  barrier();
  const u32 lane = tid - group * lanes;
  const float rate = float_word(head, HEADER_LEARNING_RATE);
  const Rows<V, optimizer> rows = {bags, dPooled, table, state, rate, head + HEADER_OPTIMIZER, elements, lanes, lane, tid % 32 - lane};
  const u32 distinct = head[HEADER_DISTINCT], lookups = head[HEADER_LOOKUPS];
  const u32 begin = share(lookups, rank, ranks), end = share(lookups, rank + 1, ranks);

  for (u32 tile = block_index() * groups; tile < distinct; tile += grid_blocks() * groups) {
    u32 count = distinct - tile < groups ? distinct - tile : groups;
    barrier();
    for (u32 i = tid; i < 2 * count + 2; i += BLOCK) pairs[i] = segments[2 * tile + i];
    barrier();
    u32 row = 0, first = 0, last = 0;
    if (group < count) {
      row = pairs[2 * group];
      first = pairs[2 * group + 1];
      if (first >= begin && first < end) last = pairs[2 * group + 3];
    }
    bool isLong = last > first + SHORT;
    u32 longs = ballot(isLong && lane == 0);
    if (tid % 32 == 0) longSegments[tid / 32] = longs;
    rows.update_short(row, first, isLong ? first : last);
    barrier();
    for (u32 warp = 0; warp < BLOCK / 32; warp++) {
      for (u32 left = longSegments[warp]; left != 0; left &= left - 1) {
        u32 k = (warp * 32 + __builtin_ctz(left)) / lanes;
        rows.update_long(partial, pairs[2 * k], pairs[2 * k + 1], pairs[2 * k + 3]);
      }
    }
  }
}

#define UPDATE(name, V, optimizer)                                                                                     \
  KERNEL RESIDENT(BLOCK, 2) void name(const u32* header, const u32* segments, const u32* bags, const V* dPooled, V* table, \
                                  V* state, u32 elements, u32 lanes, u32 rank, u32 ranks) {                            \
    update<V, optimizer>(header, segments, bags, dPooled, table, state, elements, lanes, rank, ranks);                 \
  }

UPDATE(update_rows_sgd_4, float4, SGD)
UPDATE(update_rows_sgd_1, float, SGD)
UPDATE(update_rows_adagrad_4, float4, ADAGRAD)
UPDATE(update_rows_adagrad_1, float, ADAGRAD)
UPDATE(update_rows_rwsadagrad_4, float4, ROWWISE_ADAGRAD)
UPDATE(update_rows_rwsadagrad_1, float, ROWWISE_ADAGRAD)
UPDATE(update_rows_adam_4, float4, ADAM)
UPDATE(update_rows_adam_1, float, ADAM)
