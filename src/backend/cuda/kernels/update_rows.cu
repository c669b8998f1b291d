// Updates the rows of a batch, given its segments. Every distinct row has one writer, so no atomics are needed, and the
// segments determine the order of every sum.
//
// A group of `lanes` threads (a power of two, at most 32) processes one row; a block of 256 threads processes 256 /
// lanes rows at a time. The warps of a block process distant parts of the segments, because the popular rows of a table
// are neighbours there. The group itself sums rows of at most SHORT lookups. All groups of the block share each longer
// row: group g sums lookups g, g + groups, ..., and the partial sums are added in a fixed order.
//
// A few rows (of tables with three rows, for example) can have most of the lookups of a batch. For large batches
// sum_chunks therefore first adds the gradients of each CHUNK lookups of one row, in all blocks. The update of such a
// row then sums its chunks and the lookups before the first and after the last chunk.
#include "prelude.h"

#define BLOCK 256
#define SHORT 32
#define CHUNK 256

// Sum over the groups of a block of the values in `partial`.
template <typename V>
DEVICE V total_of_groups(V* partial, u32 lanes) {
  u32 tid = thread_index();
  for (u32 half = BLOCK / 2; half >= lanes; half /= 2) {
    barrier();
    if (tid < half) partial[tid] += partial[tid + half];
  }
  barrier();
  V total = partial[tid % lanes];
  barrier();
  return total;
}

// The arguments of a row update that are the same for all rows. All threads of a warp call its functions together,
// because they exchange values.
template <typename V, Optimizer optimizer>
struct Rows {
  const u32* bags;
  const V* dPooled;
  const V* chunks;  // sums of whole chunks; null without chunks
  V* table;
  V* state;  // Adagrad: one word per weight; row-wise Adagrad: one per row; Adam: two per weight
  float rate, l2;
  const u32* rates;  // words of the optimizer in the header
  u32 elements, lanes;
  u32 lane, leader;  // of this thread in its group; first thread of the group in its warp

  // One element of the sum over lookups [first, last), in order. Idle threads have no lookups and any element. The
  // group loads its next bags together, one per lane, and exchanges them by shuffles.
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
      for (u32 k = 0; k < most; k += 4) {
        // All values are read before the first is used; otherwise a thread would wait for memory four times.
        V next[4];
#pragma unroll
        for (u32 n = 0; n < 4; n++) {
          u32 from = shuffle_from(bag, leader + k + n);
          if (k + n < count && element < elements) next[n] = dPooled[(u64)from * elements + element];
        }
#pragma unroll
        for (u32 n = 0; n < 4; n++) {
          if (k + n < count && element < elements) total += next[n];
        }
      }
    }
    return total;
  }

  // Sum over every step-th lookup: one group's part of a row that the whole block sums.
  __attribute__((device)) V strided_sum(u32 first, u32 last, u32 step, u32 element) const {
    V total = 0.0f;
#pragma unroll 4
    for (u32 k = first; k < last; k += step) total += dPooled[(u64)bags[k] * elements + element];
    return total;
  }

  // The same for a row with chunks that have been summed already.
  __attribute__((device)) V chunked_sum(u32 first, u32 last, u32 group, u32 groups, u32 element) const {
    u32 begin = (first + CHUNK - 1) / CHUNK, end = last / CHUNK;
    V total = 0.0f;
    if (chunks != 0 && begin < end) {
      for (u32 k = begin + group; k < end; k += groups) total += chunks[(u64)k * elements + element];
      total += strided_sum(first + group, begin * CHUNK, groups, element);
      first = end * CHUNK;
    }
    return total + strided_sum(first + group, last, groups, element);
  }

  // Row-wise Adagrad: adds the mean of the squares (each lane has a part) to the row's state. Returns the learning rate
  // divided by the root of the state. `active` threads have a row.
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

  // Updates one element of the row from its gradient; `scaled` is the rate of row-wise Adagrad.
  __attribute__((device)) void apply(u32 row, u32 element, V gradient, float scaled) const {
    u64 i = (u64)row * elements + element;
    if (optimizer == ADAM) table[i] = adam_weight(rates, table[i], gradient, state + 2 * i);
    else if (optimizer == ADAGRAD) table[i] -= adagrad_step(rate, gradient, state + i);
    else table[i] -= (optimizer == ROWWISE_ADAGRAD ? scaled : rate) * gradient;
  }

  // One element of the gradient of a row that the whole block sums.
  __attribute__((device)) V block_sum(V* partial, u32 first, u32 last, u32 element) const {
    u32 tid = thread_index(), group = tid / lanes, groups = BLOCK / lanes;
    V sum = 0.0f;
    if (element < elements) sum = chunked_sum(first, last, group, groups, element);
    partial[tid] = sum;
    return total_of_groups(partial, lanes);
  }

  // Updates a row whose lookups are summed by the group (none for idle threads) or, if isLong, by the block with
  // `partial`. Row-wise Adagrad first needs the mean of the squares, so rows wider than the group are summed twice.
  template <bool isLong>
  __attribute__((device)) void update(V* partial, u32 row, u32 first, u32 last) const {
    const bool writes = isLong ? thread_index() < lanes : first < last;
    V gradient = 0.0f;
    float squares = 0, scaled = 0;
#pragma clang loop unroll(disable)
    for (u32 pass = optimizer == ROWWISE_ADAGRAD ? 0 : 1; pass < 2; pass++) {
      const bool keeps = optimizer == ROWWISE_ADAGRAD && pass == 1;
      if (keeps) scaled = scale(writes, row, squares);
      for (u32 base = 0; base < elements; base += lanes) {
        u32 element = base + lane;
        if (!keeps || elements > lanes) {
          gradient = isLong ? block_sum(partial, first, last, element) : sum(first, last, element);
          if (l2 != 0 && writes && element < elements) gradient += l2 * table[(u64)row * elements + element];
        }
        if (pass == 0) squares += dot(gradient, gradient);
        else if (writes && element < elements) apply(row, element, gradient, scaled);
      }
    }
  }
};

// Number of lookups before those of `rank`: lookups * rank / ranks, without overflow.
DEVICE u32 share(u32 lookups, u32 rank, u32 ranks) {
  return lookups / ranks * rank + lookups % ranks * rank / ranks;
}

template <typename V, Optimizer optimizer>
DEVICE void update(const u32* __restrict__ header, const u32* __restrict__ segments, const u32* __restrict__ bags,
                   const V* __restrict__ dPooled, const V* __restrict__ chunks, V* __restrict__ table,
                   V* __restrict__ state, u32 elements, u32 lanes, u32 rank, u32 ranks) {
  SHARED static u32 head[HEADER_USED];
  SHARED static u32 pairs[BLOCK / 32 * (2 * 32 + 2)];  // segments of each warp
  SHARED static u32 longSegments[BLOCK / 32];
  SHARED static V partial[BLOCK];
  const u32 tid = thread_index(), group = tid / lanes, groups = BLOCK / lanes;
  if (tid < HEADER_USED) head[tid] = header[tid];
  barrier();
  const u32 lane = tid - group * lanes;
  const float rate = float_word(head, HEADER_LEARNING_RATE);
  const Rows<V, optimizer> rows = {bags, dPooled, chunks, table, state, rate, float_word(head, HEADER_ROW_L2), head + HEADER_OPTIMIZER, elements, lanes, lane, tid % 32 - lane};
  const u32 distinct = head[HEADER_DISTINCT], lookups = head[HEADER_LOOKUPS];
  const u32 begin = share(lookups, rank, ranks), end = share(lookups, rank + 1, ranks);

  // The segments of a warp are consecutive and read together; those of the next warp are far away.
  const u32 warp = tid / 32, perWarp = 32 / lanes;
  u32* const own = pairs + warp * (2 * 32 + 2);
  for (u32 round = 0; round < distinct; round += grid_blocks() * groups) {
    u32 tile = round + (warp * grid_blocks() + block_index()) * perWarp;
    u32 count = tile >= distinct ? 0 : distinct - tile < perWarp ? distinct - tile : perWarp;
    barrier();
    for (u32 i = tid % 32; count > 0 && i < 2 * count + 2; i += 32) own[i] = segments[2 * tile + i];
    barrier();
    u32 row = 0, first = 0, last = 0, k = tid % 32 / lanes;
    if (k < count) {
      row = own[2 * k];
      first = own[2 * k + 1];
      if (first >= begin && first < end) last = own[2 * k + 3];
    }
    bool isLong = last > first + SHORT;
    u32 longs = ballot(isLong && lane == 0);
    if (tid % 32 == 0) longSegments[warp] = longs;
    rows.template update<false>(partial, row, first, isLong ? first : last);
    barrier();
    for (u32 of = 0; of < BLOCK / 32; of++) {
      for (u32 left = longSegments[of]; left != 0; left &= left - 1) {
        const u32* pair = pairs + of * (2 * 32 + 2) + 2 * (__builtin_ctz(left) / lanes);
        rows.template update<true>(partial, pair[0], pair[1], pair[3]);
      }
    }
  }
}

// As many blocks on a multiprocessor as registers allow without spilling; the kernels mostly wait for memory.
#define UPDATE(name, V, optimizer, blocks)                                                                             \
  KERNEL RESIDENT(BLOCK, blocks) void name(const u32* header, const u32* segments, const u32* bags, const V* dPooled,       \
                                      const V* chunks, V* table, V* state, u32 elements, u32 lanes, u32 rank,          \
                                      u32 ranks) {                                                                     \
    update<V, optimizer>(header, segments, bags, dPooled, chunks, table, state, elements, lanes, rank, ranks);         \
  }

UPDATE(update_rows_sgd_4, float4, SGD, 4)
UPDATE(update_rows_sgd_1, float, SGD, 4)
UPDATE(update_rows_adagrad_4, float4, ADAGRAD, 4)
UPDATE(update_rows_adagrad_1, float, ADAGRAD, 4)
UPDATE(update_rows_rwsadagrad_4, float4, ROWWISE_ADAGRAD, 3)
UPDATE(update_rows_rwsadagrad_1, float, ROWWISE_ADAGRAD, 4)
UPDATE(update_rows_adam_4, float4, ADAM, 3)
UPDATE(update_rows_adam_1, float, ADAM, 4)

// The segment that contains a lookup. A warp compares 32 segments at a time.
DEVICE u32 segment_of(const u32* __restrict__ segments, u32 distinct, u32 lookup) {
  u32 lane = thread_index() % 32;
  u32 low = 0;
  for (u32 count = distinct; count > 1;) {
    u32 step = (count + 31) / 32;
    u32 probe = lane * step;
    u32 below = ballot(probe < count && segments[2 * (low + probe) + 1] <= lookup);  // the first lanes
    u32 last = (__builtin_popcount(below) - 1) * step;
    low += last;
    count = count - last < step ? count - last : step;
  }
  return low;
}

// chunks (lookups / CHUNK, dim): the sum of the gradients of each CHUNK consecutive lookups, if all of them are of one
// row; other chunks are not written.
template <typename V>
DEVICE void sum_chunks(const u32* __restrict__ header, const u32* __restrict__ segments, const u32* __restrict__ bags,
                       const V* __restrict__ dPooled, V* __restrict__ chunks, u32 elements, u32 lanes) {
  SHARED static u32 isWhole;
  SHARED static V partial[BLOCK];
  const u32 tid = thread_index(), group = tid / lanes, groups = BLOCK / lanes, lane = tid - group * lanes;
  const u32 distinct = header[HEADER_DISTINCT], count = header[HEADER_LOOKUPS] / CHUNK;
  for (u32 chunk = block_index(); chunk < count; chunk += grid_blocks()) {
    const u32 first = chunk * CHUNK;
    if (tid < 32) {
      u32 segment = segment_of(segments, distinct, first);
      if (tid == 0) isWhole = segments[2 * segment + 3] >= first + CHUNK;
    }
    barrier();
    if (isWhole) {
      for (u32 base = 0; base < elements; base += lanes) {
        u32 element = base + lane;
        V sum = 0.0f;
        if (element < elements) {
#pragma unroll 4
          for (u32 k = first + group; k < first + CHUNK; k += groups) sum += dPooled[(u64)bags[k] * elements + element];
        }
        partial[tid] = sum;
        sum = total_of_groups(partial, lanes);
        if (group == 0 && element < elements) chunks[(u64)chunk * elements + element] = sum;
      }
    }
    barrier();
  }
}

KERNEL RESIDENT(BLOCK, 4) void sum_chunks_4(const u32* header, const u32* segments, const u32* bags,
                                            const float4* dPooled, float4* chunks, u32 elements, u32 lanes) {
  sum_chunks<float4>(header, segments, bags, dPooled, chunks, elements, lanes);
}

KERNEL RESIDENT(BLOCK, 4) void sum_chunks_1(const u32* header, const u32* segments, const u32* bags,
                                            const float* dPooled, float* chunks, u32 elements, u32 lanes) {
  sum_chunks<float>(header, segments, bags, dPooled, chunks, elements, lanes);
}
