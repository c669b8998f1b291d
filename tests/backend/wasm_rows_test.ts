/** WASM kernels of vectors and of embedding rows, against the reference. */
import assert from "node:assert/strict";
import { denseStateWords, OPTIMIZER_NAMES, OPTIMIZERS, rowStateWords } from "../../src/optimizer/optimizers.ts";
import { instantiateKernels, newMemory, NO_ADDRESS } from "../../src/backend/cpu/wasm/kernels.ts";
import { SEGMENTS_END } from "../../src/layout/batch.ts";
import { Random } from "../../src/random.ts";

import { assertClose } from "../support/close.ts";
import { at, copyOf, Operands, reference } from "./wasm_operands.ts";

Deno.test("WASM kernels: dense updates", () => {
  const random = new Random(4);
  for (const optimizer of OPTIMIZER_NAMES) {
    for (const words of [1, 3, 4, 37, 260]) {
      const operands = new Operands();
      const header = operands.header({ rate: 0.125 });
      const parameters = operands.random(words, random);
      const gradients = operands.random(words, random);
      const state = operands.squares(denseStateWords(optimizer, words), random);
      const [expected, expectedState] = [parameters, state].map(copyOf);
      reference.updateDense(optimizer, words, copyOf(header), expected, copyOf(gradients), expectedState);
      const code = OPTIMIZERS[optimizer].code;
      operands.kernels.updateWeights(code, words, at(header), at(parameters), at(gradients), at(state));
      assertClose(parameters, reference.floats(expected), 1e-6, `${optimizer} of ${words} words`);
      assertClose(state, reference.floats(expectedState), 1e-6, `state of ${optimizer}`);
      operands.check();
    }
  }
});

Deno.test("WASM kernels: adding vectors", () => {
  const random = new Random(5);
  for (const words of [1, 4, 7, 64, 133]) {
    const operands = new Operands();
    const source = operands.random(words, random);
    const target = operands.random(words, random);
    const expected = copyOf(target);
    reference.add(words, copyOf(source), expected);
    operands.kernels.add(words, at(source), at(target));
    assertClose(target, reference.floats(expected), 0, `sum of ${words} words`);
    operands.check();
  }
});

Deno.test("WASM kernels: scaling a vector, and the sum of its squares", () => {
  const random = new Random(7);
  for (const words of [0, 1, 4, 7, 64, 133]) {
    const operands = new Operands();
    const x = operands.random(words, random);
    const expected = copyOf(x);
    const squares = reference.squares(words, expected);
    assert.ok(Math.abs(operands.kernels.squares(words, at(x)) - squares) <= 1e-14 * squares);
    reference.scale(words, 0.75, expected);
    operands.kernels.scale(words, 0.75, at(x));
    assertClose(x, reference.floats(expected), 0, `${words} words`);
    operands.check();
  }
  const operands = new Operands();
  for (const word of [Infinity, NaN, -Infinity]) {
    assert.ok(!Number.isFinite(operands.kernels.squares(5, at(operands.floats(5).fill(word, 3, 4)))));
  }
  // Squares of single precision would overflow.
  assert.equal(operands.kernels.squares(5, at(operands.floats(5).fill(2 ** 100))), 5 * 2 ** 200);
});

Deno.test("WASM kernels: pooling, also of empty and large bags", () => {
  const random = new Random(6);
  for (const dim of [1, 3, 4, 16, 18, 35, 64, 128]) {
    const operands = new Operands();
    const sizes = [1, 0, 3, 1, 0, 700, 2, 0];
    const offsets = operands.indices(sizes.reduce((list, size) => [...list, list[list.length - 1] + size], [0]));
    const indices = operands.indices(Array.from({ length: offsets[sizes.length] }, () => random.below(50)));
    const table = operands.random(50 * dim, random);
    for (const weights of [undefined, operands.random(indices.length, random)]) {
      const pooled = operands.floats(sizes.length * dim);
      const expected = copyOf(pooled);
      const [rows, lookups, bags] = [table, indices, offsets].map(copyOf);
      reference.pool(sizes.length, dim, rows, lookups, bags, expected, weights && copyOf(weights));
      const weightsAt = weights ? at(weights) : NO_ADDRESS;
      operands.kernels.pool(sizes.length, dim, at(table), at(indices), at(offsets), weightsAt, at(pooled));
      assertClose(pooled, reference.floats(expected), 1e-4, `pooled, dim ${dim}`);
    }
    operands.check();
  }
});

Deno.test("WASM kernels: gathered rows scattered back leave the table as it was", () => {
  const random = new Random(7);
  for (const dim of [1, 3, 16, 18, 64]) {
    for (const count of [1, 7, 40]) {
      const operands = new Operands();
      const table = operands.random(40 * dim, random);
      const rows = operands.indices(random.shuffle(Array.from({ length: 40 }, (_, i) => i)).slice(0, count));
      const packed = operands.floats(count * dim);
      operands.kernels.gatherRows(count, dim, at(table), at(rows), at(packed));
      for (let i = 0; i < packed.length; i++) {
        assert.equal(packed[i], table[rows[Math.floor(i / dim)] * dim + i % dim]);
      }
      const before = table.slice();
      for (const row of rows) table.fill(0, row * dim, (row + 1) * dim);
      operands.kernels.scatterRows(count, dim, at(packed), at(rows), at(table));
      assert.deepEqual(table, before);
      operands.check();
    }
  }
});

Deno.test("WASM kernels: rows of a table that reaches past 4 GiB", () => {
  const memory = newMemory(65536 + 16); // pages that no test touches take no memory
  const floats = new Float32Array(memory.buffer);
  const dim = 16;
  const rows = new Uint32Array(memory.buffer, 64, 2);
  rows.set([floats.length / dim - 1, 65536]); // the last row, and one where the low 32 bits of its address are small
  floats.fill(1, rows[0] * dim, (rows[0] + 1) * dim);
  floats.fill(2, rows[1] * dim, (rows[1] + 1) * dim);
  const packed = new Float32Array(memory.buffer, 128, 2 * dim);
  const kernels = instantiateKernels(memory);
  kernels.gatherRows(2, dim, 0n, at(rows), at(packed));
  assert.deepEqual([packed[0], packed[dim - 1], packed[dim], packed[2 * dim - 1]], [1, 1, 2, 2]);
  packed.fill(3);
  kernels.scatterRows(2, dim, at(packed), at(rows), 0n);
  assert.equal(floats[rows[0] * dim], 3);
  assert.throws(() => kernels.gatherRows(1, dim, 64n, at(rows), at(packed)), WebAssembly.RuntimeError);
});

/** A batch's segment list from its lookups: (row, first position) pairs and the bag of each lookup. */
function segmentLists(indices: number[], bagOf: (lookup: number) => number): [number[], number[]] {
  const byRow = new Map<number, number[]>();
  indices.forEach((row, lookup) => byRow.set(row, [...byRow.get(row) ?? [], bagOf(lookup)]));
  const segments: number[] = [];
  const bags: number[] = [];
  for (const row of [...byRow.keys()].sort((a, b) => a - b)) {
    segments.push(row, bags.length);
    bags.push(...byRow.get(row)!);
  }
  return [[...segments, SEGMENTS_END, indices.length], bags];
}

Deno.test("WASM kernels: row updates by one rank and by three", () => {
  const random = new Random(8);
  const sizes = [[1, 300, 300], [40, 90, 30], [40, 1, 1], [250, 200, 200], [5, 0, 1]];
  for (const optimizer of OPTIMIZER_NAMES) {
    for (const dim of [1, 3, 4, 16, 18, 64]) {
      for (const [rows, lookups, bags] of sizes) {
        for (const [ranks, weighted] of [[1, false], [3, false], [3, true]] as const) {
          const operands = new Operands();
          const indices = Array.from({ length: lookups }, () => random.below(rows));
          const [segmentList, bagList] = segmentLists(indices, (lookup) => lookup % bags);
          const segments = operands.indices(segmentList);
          const segmentBags = operands.indices(bagList);
          const weights = weighted ? operands.random(lookups, random) : undefined;
          const dPooled = operands.random(bags * dim, random);
          const table = operands.random(rows * dim, random);
          const state = operands.squares(rows * rowStateWords(optimizer, dim), random);
          const header = operands.header({ lookups, distinct: segmentList.length / 2 - 1, rate: 0.25 });
          const scratch = operands.scratch(4 * dim);

          const [expected, expectedState] = [table, state].map(copyOf);
          const inputs = [header, segments, segmentBags, dPooled] as const;
          const [h, s, b, d] = inputs.map(copyOf);
          const w = weights && copyOf(weights);
          reference.updateRows({ optimizer, dim, rank: 0, ranks: 1 }, h, s, b, d, expected, expectedState, w);
          const [headerAt, segmentsAt, bagsAt, dPooledAt] = inputs.map(at);
          const lists = [headerAt, segmentsAt, bagsAt, weights ? at(weights) : NO_ADDRESS, dPooledAt] as const;
          for (let rank = 0; rank < ranks; rank++) {
            operands.kernels.updateRows(
              OPTIMIZERS[optimizer].code,
              rowStateWords(optimizer, dim),
              dim,
              rank,
              ranks,
              ...lists,
              at(table),
              at(state),
              scratch,
            );
          }
          const what =
            `${optimizer}, dim ${dim}, ${rows} rows, ${lookups} lookups, ${ranks} ranks, weighted ${weighted}`;
          for (let rank = 0; rank < ranks; rank++) {
            const squares = reference.rowSquares({ optimizer, dim, rank, ranks }, h, s, b, d, w);
            const found = operands.kernels.rowSquares(dim, rank, ranks, ...lists, scratch);
            assert.ok(Math.abs(found - squares) <= 2e-5 * squares, `${found} instead of ${squares}, ${what}`);
          }
          assertClose(table, reference.floats(expected), 2e-5, what);
          assertClose(state, reference.floats(expectedState), 2e-5, `state of ${what}`);
          operands.check();
        }
      }
    }
  }
});

Deno.test("WASM kernels: a rank updates the segments that begin within its share of the lookups", () => {
  const operands = new Operands();
  // Lookups 0..9: row 3 has 0..6, row 5 has 7 and 8, row 9 has 9. Of two ranks the first has 0..4.
  const segments = operands.indices([3, 0, 5, 7, 9, 9, SEGMENTS_END, 10]);
  const segmentBags = operands.indices([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const dPooled = operands.floats(10).fill(1);
  const header = operands.header({ lookups: 10, distinct: 3, rate: -1 });
  const changed = (rank: number, ranks: number) => {
    const table = operands.floats(10).fill(0);
    const scratch = operands.scratch(4);
    operands.kernels.updateRows(
      OPTIMIZERS.sgd.code,
      0,
      1,
      rank,
      ranks,
      at(header),
      at(segments),
      at(segmentBags),
      NO_ADDRESS,
      at(dPooled),
      at(table),
      NO_ADDRESS,
      scratch,
    );
    return [table[3], table[5], table[9]];
  };
  assert.deepEqual(changed(0, 2), [7, 0, 0]);
  assert.deepEqual(changed(1, 2), [0, 2, 1]);
  assert.deepEqual(changed(7, 10), [0, 2, 0]);
  assert.deepEqual(changed(8, 10), [0, 0, 0]);
});
