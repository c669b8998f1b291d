/** Conformance tests of embedding rows and updates. */
import { type Backend, type Buffer, Header, HEADER_WORDS } from "../../src/backend/backend.ts";
import { denseStateWords, OPTIMIZER_NAMES, rowStateWords } from "../../src/optimizer/optimizers.ts";
import type { Batch } from "../../src/layout/batch.ts";
import { Random } from "../../src/random.ts";
import { header, normals, operand, output, rows, section, sparseBatch, squares } from "./operands.ts";

import type { Register } from "./pair.ts";

/** Batches that are hard to update: by name, the lengths of their bags and the rows of their lookups. */
function hardBatches(random: Random): { name: string; batch: Batch; tableRows: number }[] {
  const lengths = (bags: number, draw: () => number) => Array.from({ length: bags }, draw);
  const tableRows = 40;
  return [
    { name: "one lookup", batch: sparseBatch([1], 1, () => 39), tableRows },
    { name: "only empty bags", batch: sparseBatch([0, 0, 0, 0], 2, () => 0), tableRows },
    { name: "one row for the whole batch", batch: sparseBatch(lengths(75, () => 1), 3, () => 7), tableRows },
    { name: "one row many times in each bag", batch: sparseBatch(lengths(9, () => 11), 1, () => 0), tableRows },
    {
      name: "empty and long bags",
      batch: sparseBatch(lengths(62, () => random.below(5)), 2, () => random.below(tableRows)),
      tableRows,
    },
    {
      name: "every row once",
      batch: sparseBatch(lengths(130, () => 1), 1, (k) => (k * 37) % 130),
      tableRows: 130,
    },
    {
      name: "skewed rows",
      batch: sparseBatch(lengths(351, () => 1), 27, () => Math.floor(1000 * random.uniform() ** 4)),
      tableRows: 1000,
    },
  ];
}

/** Registers them. */
export function rowTests(test: Register): void {
  test("pooling of bags: empty ones, long ones, and a part of a batch", (pair) => {
    const random = new Random(2);
    for (const dim of [1, 3, 4, 7, 16, 33, 64]) {
      for (const { name, batch, tableRows } of hardBatches(random)) {
        const { words, sections, lookups, shape } = batch;
        const bags = shape.batchSize * shape.tables;
        for (const first of [0, Math.floor(bags / 3)]) {
          const operands = {
            table: rows(normals(tableRows * dim, random)),
            indices: section(words.slice(sections.indices, sections.indices + lookups)),
            offsets: section(words.slice(sections.offsets + first, sections.offsets + bags + 1)),
            pooled: output((bags - first) * dim),
          };
          const what = `pool, dim ${dim}, ${name}, from bag ${first}`;
          pair.check(
            what,
            operands,
            (backend, b) => backend.pool(bags - first, dim, b.table, b.indices, b.offsets, b.pooled),
          );
          pair.check(
            `${what}, weighted`,
            { ...operands, weights: section(normals(lookups, random)) },
            (backend, b) => backend.pool(bags - first, dim, b.table, b.indices, b.offsets, b.pooled, b.weights),
          );
        }
      }
    }
  });

  test("means of bags: empty ones, long ones, and a part of a batch", (pair) => {
    const random = new Random(11);
    for (const dim of [1, 3, 4, 7, 16, 33]) {
      for (const { name, batch } of hardBatches(random)) {
        const { words, sections, shape } = batch;
        const bags = shape.batchSize * shape.tables;
        for (const first of [0, Math.floor(bags / 3)]) {
          pair.check(
            `means, dim ${dim}, ${name}, from bag ${first}`,
            {
              offsets: section(words.slice(sections.offsets + first, sections.offsets + bags + 1)),
              x: operand(normals((bags - first) * dim, random)),
              y: output((bags - first) * dim),
            },
            (backend, b) => backend.meanOfBags(bags - first, dim, b.offsets, b.x, b.y),
          );
        }
      }
    }
  });

  test("pooling of single lookups", (pair) => {
    const random = new Random(3);
    for (const dim of [1, 3, 4, 16, 33]) {
      for (const bags of [0, 1, 5, 130]) {
        const indices = section(Uint32Array.from({ length: bags }, () => random.below(50)));
        pair.check(
          `pool, dim ${dim}, ${bags} bags of one lookup`,
          { table: rows(normals(50 * dim, random)), indices, pooled: output(bags * dim) },
          (backend, b) => backend.pool(bags, dim, b.table, b.indices, undefined, b.pooled),
        );
      }
    }
  });

  test("row updates: each rank's share, and all of them", (pair) => {
    const random = new Random(6);
    for (const optimizer of OPTIMIZER_NAMES) {
      const sizes = [[1, false], [3, true], [4, false], [16, true], [18, false], [33, false], [3, false], [16, false]];
      for (const [at, [dim, weighted]] of (sizes as [number, boolean][]).entries()) {
        const ranks = 1 + at % 3;
        for (const { name, batch, tableRows } of hardBatches(random)) {
          const { words, sections, lookups, distinct, shape } = batch;
          const bags = shape.batchSize * shape.tables;
          const stateWords = rowStateWords(optimizer, dim);
          const head = words.slice(0, HEADER_WORDS);
          new Float32Array(head.buffer)[Header.rowL2] = at % 2 === 0 ? 0 : 0.1;
          const operands = {
            header: operand(head),
            segments: section(words.slice(sections.segments, sections.segments + 2 * (distinct + 1))),
            segmentBags: section(words.slice(sections.segmentBags, sections.segmentBags + lookups)),
            segmentWeights: section(normals(lookups, random)),
            dPooled: operand(normals(bags * dim, random).map((g) => g / 8)),
            table: rows(normals(tableRows * dim, random)),
            state: rows(squares(tableRows * stateWords, random)),
          };
          const update = (backend: Backend, b: Record<keyof typeof operands, Buffer>, rank: number, ranks: number) =>
            backend.updateRows(
              { optimizer, dim, rank, ranks },
              b.header,
              b.segments,
              b.segmentBags,
              b.dPooled,
              b.table,
              stateWords === 0 ? undefined : b.state,
              weighted ? b.segmentWeights : undefined,
            );
          const what = `${optimizer}, dim ${dim}, ${name}${weighted ? ", weighted" : ""}`;
          for (let rank = 0; rank < ranks; rank++) {
            pair.check(`rank ${rank} of ${ranks}, ${what}`, operands, (backend, b) => update(backend, b, rank, ranks));
          }
          pair.check(`all of ${ranks} ranks, ${what}`, operands, (backend, b) => {
            for (let rank = ranks - 1; rank >= 0; rank--) update(backend, b, rank, ranks);
          });
        }
      }
    }
  });

  test("the first update of rows that have no state yet", (pair) => {
    const random = new Random(7);
    const batch = sparseBatch([2, 1, 0, 3], 2, (k) => k % 4);
    const { words, sections, lookups, distinct } = batch;
    const dim = 5;
    for (const optimizer of ["adagrad", "rwsadagrad"] as const) {
      const dPooled = normals(4 * dim, random);
      dPooled.fill(0, 0, dim); // a gradient of zero changes nothing, though it is divided by nearly zero
      pair.check(
        `first ${optimizer}`,
        {
          header: operand(words.slice(0, HEADER_WORDS)),
          segments: section(words.slice(sections.segments, sections.segments + 2 * (distinct + 1))),
          segmentBags: section(words.slice(sections.segmentBags, sections.segmentBags + lookups)),
          dPooled: operand(dPooled),
          table: rows(normals(4 * dim, random)),
          state: rows(new Float32Array(4 * rowStateWords(optimizer, dim))),
        },
        (backend, b) =>
          backend.updateRows(
            { optimizer, dim, rank: 0, ranks: 1 },
            b.header,
            b.segments,
            b.segmentBags,
            b.dPooled,
            b.table,
            b.state,
          ),
      );
    }
  });

  test("dense updates", (pair) => {
    const random = new Random(8);
    for (const optimizer of OPTIMIZER_NAMES) {
      for (const words of [0, 1, 5, 64, 1003]) {
        const operands = {
          header: header(4),
          parameters: operand(normals(words, random)),
          gradients: operand(normals(words, random)),
          state: operand(squares(denseStateWords(optimizer, words), random)),
        };
        pair.check(`${optimizer} of ${words} parameters`, operands, (backend, b) => {
          const state = denseStateWords(optimizer, 1) === 0 ? undefined : b.state;
          for (let step = 0; step < 3; step++) {
            backend.updateDense(optimizer, words, b.header, b.parameters, b.gradients, state);
          }
        });
      }
    }
  });

  test("packing rows and putting them back", (pair) => {
    const random = new Random(9);
    for (const dim of [1, 3, 4, 16, 33]) {
      for (const count of [0, 1, 5, 100]) {
        const list = random.shuffle(Uint32Array.from({ length: 120 }, (_, i) => i)).slice(0, count);
        const table = rows(normals(120 * dim, random));
        pair.check(
          `pack ${count} rows of ${dim}`,
          { table, list: operand(list), packed: output(count * dim) },
          (backend, b) => backend.packRows(count, dim, b.table, b.list, b.packed),
        );
        pair.check(
          `unpack ${count} rows of ${dim}`,
          { table, list: operand(list), packed: operand(normals(count * dim, random)) },
          (backend, b) => backend.unpackRows(count, dim, b.packed, b.list, b.table),
        );
      }
    }
  });
}
