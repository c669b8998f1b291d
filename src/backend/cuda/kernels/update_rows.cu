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

// Everything but the place in the segment list that an update of a row needs.
template <typename V, Optimizer optimizer>
struct Rows {
  const u32* bags;
  const V* dPooled;
  V* table;
  V* state;  // Adagrad: as the table; row-wise Adagrad: one float a row
  float rate;
  u32 elements, lanes;

  // Sum over every step-th lookup of [first, last), one element of the row.
  __attribute__((device)) V sum(u32 first, u32 last, u32 step, u32 element) const {
    V total = 0.0f;
#pragma unroll 4
    for (u32 k = first; k < last; k += step) total += dPooled[(u64)bags[k] * elements + element];
    return total;
  }

  // One element of the row moves against its gradient; not for row-wise Adagrad.
  __attribute__((device)) void apply(u32 row, u32 element, V gradient) const {
    u64 i = (u64)row * elements + element;
    V step = rate * gradient;
    if (optimizer == ADAGRAD) {
      V squares = state[i] + gradient * gradient;
      state[i] = squares;
      step /= root(squares) + ADAGRAD_EPSILON;
    }
    table[i] -= step;
  }

  // Row-wise Adagrad: adds the mean of the squares (each lane brings its part) to the row's state and returns the step
  // for a gradient of one. All threads of the warp call it; `active` ones have a row.
  __attribute__((device)) float scale(bool active, u32 row, float squares) const {
    for (u32 mask = lanes / 2; mask > 0; mask /= 2) squares += shuffle_xor(squares, mask);
    u32 leader = thread_index() % 32 / lanes * lanes;
    float total = 0;
    if (active && thread_index() % 32 == leader) {
      float* kept = (float*)state + row;
      total = *kept + squares / (float)(elements * Width<V>::words);
      *kept = total;
    }
    return rate / (root(shuffle_from(total, leader)) + ADAGRAD_EPSILON);
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
  SHARED static u32 pairs[2 * BLOCK + 2];
  SHARED static u32 longSegments[BLOCK / 32];
  SHARED static V partial[BLOCK];
  const Rows<V, optimizer> rows = {bags, dPooled, table, state, float_word(header, HEADER_LEARNING_RATE), elements, lanes};
  const u32 tid = thread_index(), group = tid / lanes, lane = tid % lanes, groups = BLOCK / lanes;
  const u32 distinct = header[HEADER_DISTINCT];
  const u32 begin = share(header[HEADER_LOOKUPS], rank, ranks), end = share(header[HEADER_LOOKUPS], rank + 1, ranks);

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
    bool isShort = last > first && !isLong;
    u32 ballot = __nvvm_vote_ballot_sync(0xffffffffu, isLong && lane == 0);
    if (tid % 32 == 0) longSegments[tid / 32] = ballot;

    if (optimizer == ROWWISE_ADAGRAD) {
      V gradient = 0.0f;
      float squares = 0;
      if (isShort) {
        for (u32 element = lane; element < elements; element += lanes) {
          gradient = rows.sum(first, last, 1, element);
          squares += dot(gradient, gradient);
        }
      }
      float scale = rows.scale(isShort, row, squares);
      if (isShort) {
        for (u32 element = lane; element < elements; element += lanes) {
          if (elements > lanes) gradient = rows.sum(first, last, 1, element);
          table[(u64)row * elements + element] -= scale * gradient;
        }
      }
    } else if (isShort) {
      for (u32 element = lane; element < elements; element += lanes) {
        rows.apply(row, element, rows.sum(first, last, 1, element));
      }
    }

    barrier();
    for (u32 warp = 0; warp < BLOCK / 32; warp++) {
      for (u32 left = longSegments[warp]; left != 0; left &= left - 1) {
        u32 k = (warp * 32 + __builtin_ctz(left)) / lanes;
        row = pairs[2 * k], first = pairs[2 * k + 1], last = pairs[2 * k + 3];
        // Row-wise Adagrad needs all elements' squares before the first step: a pass for them, then one for the steps.
        float squares = 0, scale = 0;
        for (u32 pass = optimizer == ROWWISE_ADAGRAD ? 0 : 1; pass < 2; pass++) {
          for (u32 base = 0; base < elements; base += lanes) {
            u32 element = base + lane;
            if (element < elements) partial[tid] = rows.sum(first + group, last, groups, element);
            barrier();
            if (group == 0 && element < elements) {
              V total = partial[lane];
              for (u32 other = 1; other < groups; other++) total += partial[other * lanes + lane];
              if (pass == 0) {
                squares += dot(total, total);
              } else if (optimizer == ROWWISE_ADAGRAD) {
                table[(u64)row * elements + element] -= scale * total;
              } else {
                rows.apply(row, element, total);
              }
            }
            barrier();
          }
          if (pass == 0 && tid < 32) scale = rows.scale(group == 0, row, squares);
        }
      }
    }
  }
}

#define UPDATE(name, V, optimizer)                                                                                     \
  KERNEL RESIDENT(BLOCK, 4) void name(const u32* header, const u32* segments, const u32* bags, const V* dPooled, V* table, \
                                  V* state, u32 elements, u32 lanes, u32 rank, u32 ranks) {                            \
    update<V, optimizer>(header, segments, bags, dPooled, table, state, elements, lanes, rank, ranks);                 \
  }

UPDATE(update_rows_sgd_4, float4, SGD)
UPDATE(update_rows_sgd_1, float, SGD)
UPDATE(update_rows_adagrad_4, float4, ADAGRAD)
UPDATE(update_rows_adagrad_1, float, ADAGRAD)
UPDATE(update_rows_rwsadagrad_4, float4, ROWWISE_ADAGRAD)
UPDATE(update_rows_rwsadagrad_1, float, ROWWISE_ADAGRAD)
