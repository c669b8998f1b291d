/**
 * What every backend must do: each operation against the reference backend, on odd shapes. Uses the Backend contract
 * alone, so that it serves backends whose memory the host cannot see.
 */
import assert from "node:assert/strict";
import {
  type Activation,
  type Backend,
  type Buffer,
  Header,
  HEADER_WORDS,
  type InteractionShape,
  interactionWidth,
} from "../../src/backend/backend.ts";
import { denseStateWords, OPTIMIZER_NAMES, rowStateWords } from "../../src/optimizer/optimizers.ts";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import type { Batch } from "../../src/layout/batch.ts";
import { Random } from "../../src/random.ts";
import { assertClose } from "../support/close.ts";
import {
  apply,
  header,
  normals,
  type Operand,
  operand,
  output,
  rows,
  section,
  sparseBatch,
  squares,
} from "./operands.ts";
import { specialValues } from "./special_values.ts";

const ACTIVATIONS: Activation[] = ["identity", "relu", "sigmoid"];
const INTERACTIONS: Pick<InteractionShape, "kind" | "bottom">[] = [
  { kind: "dot", bottom: true },
  { kind: "cat", bottom: true },
  { kind: "dot", bottom: false },
];

/** A backend beside the reference. */
class Pair {
  readonly #backend: Backend;
  readonly #reference = new ReferenceBackend();
  readonly #tolerance: number;

  constructor(backend: Backend, tolerance: number) {
    this.#backend = backend;
    this.#tolerance = tolerance;
  }

  /** Runs an operation on both with equal operands; fails unless all operands are equal afterwards and guards whole. */
  check<Name extends string>(
    what: string,
    operands: Record<Name, Operand>,
    run: (backend: Backend, buffers: Record<Name, Buffer>) => void,
  ): void {
    const expected = apply(this.#reference, operands, run, what);
    const actual = apply(this.#backend, operands, run, what);
    for (const name of Object.keys(operands) as Name[]) {
      const message = `${name} of ${what}`;
      if (operands[name].values instanceof Uint32Array) assert.deepEqual(actual[name], expected[name], message);
      else assertClose(actual[name], expected[name], this.#tolerance, message);
    }
  }
}

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

/**
 * Registers the tests of a backend. `open` is called for every test; results may differ from the reference's by
 * `tolerance`, relative or, below 1, absolute. With `absent`, the reason why it cannot run here, the tests are skipped.
 * `precision` is that of products.
 */
export function conformance(
  name: string,
  open: () => Promise<Backend> | Backend,
  tolerance: number,
  absent?: string,
  precision?: "fp32" | "bf16",
): void {
  const test = (what: string, body: (pair: Pair, backend: Backend) => void) =>
    Deno.test({
      name: `${name}: ${what}${absent === undefined ? "" : ` (skipped: ${absent})`}`,
      ignore: absent !== undefined,
      fn: async () => {
        using backend = await open();
        body(new Pair(backend, tolerance), backend);
      },
    });

  test("NaN, infinities, -0 and the smallest numbers, in every operand of every operation", (_, backend) => {
    specialValues(backend, "own", precision);
  });

  test("memory is zero at first; uploads, downloads and views", (_, backend) => {
    for (const buffer of [backend.allocate(37, "test"), backend.allocateTable(37, "test")]) {
      const read = (from: Buffer, words = from.words) => {
        const target = new Uint32Array(words);
        backend.download(from, target);
        return [...target];
      };
      assert.equal(buffer.words, 37);
      assert.deepEqual(read(buffer), new Array(37).fill(0));
      const view = backend.view(buffer, 5, 7);
      assert.equal(view.words, 7);
      const source = Uint32Array.of(1, 0xffffffff, 3);
      backend.upload(source, view);
      source.fill(9); // may be reused
      assert.deepEqual(read(buffer, 10), [0, 0, 0, 0, 0, 1, 0xffffffff, 3, 0, 0]);
      assert.deepEqual(read(backend.view(view, 1, 2)), [0xffffffff, 3]);
      assert.deepEqual(read(backend.view(buffer, 37, 0)), []);
      backend.upload(Float32Array.of(-0.5), backend.view(buffer, 36, 1));
      assert.equal(read(buffer)[36], 0xbf000000);
      const floats = new Float32Array(1);
      backend.download(backend.view(buffer, 36, 1), floats);
      assert.equal(floats[0], -0.5);
    }
  });

  test("views do not reach beyond their buffer", (_, backend) => {
    const buffer = backend.allocate(8, "test");
    assert.throws(() => backend.view(buffer, 4, 5), RangeError);
    assert.throws(() => backend.view(buffer, -1, 2), RangeError);
    assert.throws(() => backend.view(backend.view(buffer, 2, 3), 1, 3), RangeError);
  });

  test("linear and its gradients", (pair) => {
    const random = new Random(1);
    const shapes = [
      [1, 1, 1],
      [1, 13, 5],
      [2, 3, 1],
      [3, 4, 16],
      [5, 17, 31],
      [7, 1, 9],
      [33, 65, 30],
      [64, 64, 64],
      [127, 40, 3],
      [130, 367, 70],
      [0, 6, 5],
    ];
    for (const [samples, inputs, outputs] of shapes) {
      for (const activation of ACTIVATIONS) {
        const shape = { inputs, outputs, activation };
        const what = `linear, ${samples} samples, ${inputs} to ${outputs}, ${activation}`;
        // Of the size that layers have, so that sums do not grow with the shape.
        const weight = operand(normals(inputs * outputs, random).map((w) => w / Math.sqrt(inputs)));
        const x = section(normals(samples * inputs, random));
        const forward = { x, weight, bias: operand(normals(outputs, random)), y: output(samples * outputs) };
        pair.check(what, forward, (backend, b) => backend.linear(shape, samples, b.x, b.weight, b.bias, b.y));

        const y = normals(samples * outputs, random);
        const made = activation === "relu"
          ? y.map((v) => Math.max(v, 0))
          : activation === "sigmoid"
          ? y.map((v) => 1 / (1 + Math.exp(-v)))
          : y;
        const backward = {
          x,
          weight,
          y: operand(made),
          dY: operand(normals(samples * outputs, random).map((g) => g / Math.sqrt(Math.max(samples, outputs)))),
          dWeight: output(inputs * outputs),
          dBias: output(outputs),
        };
        pair.check(
          `gradients of ${what}`,
          { ...backward, dX: output(samples * inputs) },
          (backend, b) => backend.linearBackward(shape, samples, b.x, b.weight, b.y, b.dY, b.dX, b.dWeight, b.dBias),
        );
        pair.check(
          `gradients without dX of ${what}`,
          backward,
          (backend, b) =>
            backend.linearBackward(shape, samples, b.x, b.weight, b.y, b.dY, undefined, b.dWeight, b.dBias),
        );
      }
    }
  });

  test("sigmoid of large inputs is finite", (pair) => {
    const bias = operand(Float32Array.of(-1e4, -100, -1, 0, 1, 100, 1e4));
    const shape = { inputs: 1, outputs: 7, activation: "sigmoid" } as const;
    pair.check(
      "sigmoid",
      { x: section(Float32Array.of(0, 1)), weight: operand(new Float32Array(7).fill(0.5)), bias, y: output(14) },
      (backend, b) => backend.linear(shape, 2, b.x, b.weight, b.bias, b.y),
    );
  });

  test("sums of columns", (pair) => {
    const random = new Random(11);
    for (const [samples, columns] of [[0, 5], [1, 1], [3, 4], [65, 13], [130, 32]]) {
      pair.check(
        `sums of ${columns} columns of ${samples} samples`,
        { x: operand(normals(samples * columns, random)), sums: output(columns) },
        (backend, b) => backend.columnSums(samples, columns, b.x, b.sums),
      );
    }
  });

  test("pooling of bags: empty ones, long ones, and a part of a batch", (pair) => {
    const random = new Random(2);
    for (const dim of [1, 3, 4, 7, 16, 33, 64]) {
      for (const { name, batch, tableRows } of hardBatches(random)) {
        const { words, sections, lookups, shape } = batch;
        const bags = shape.batchSize * shape.tables;
        for (const first of [0, Math.floor(bags / 3)]) {
          pair.check(
            `pool, dim ${dim}, ${name}, from bag ${first}`,
            {
              table: rows(normals(tableRows * dim, random)),
              indices: section(words.slice(sections.indices, sections.indices + lookups)),
              offsets: section(words.slice(sections.offsets + first, sections.offsets + bags + 1)),
              pooled: output((bags - first) * dim),
            },
            (backend, b) => backend.pool(bags - first, dim, b.table, b.indices, b.offsets, b.pooled),
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

  test("interaction and its gradients", (pair) => {
    const random = new Random(4);
    for (const form of INTERACTIONS) {
      for (const [samples, tables, dim] of [[1, 1, 1], [2, 3, 5], [5, 2, 4], [3, 26, 16], [4, 7, 17], [0, 3, 4]]) {
        const shape = { ...form, tables, dim };
        const width = interactionWidth(shape);
        const what = `${form.kind} interaction ${
          form.bottom ? "" : "of pooled rows alone"
        }, ${samples} samples, ${tables} tables, dim ${dim}`;
        const inputs = {
          bottom: operand(normals(samples * dim, random)),
          pooled: operand(normals(samples * tables * dim, random)),
        };
        pair.check(
          what,
          { ...inputs, output: output(samples * width) },
          (backend, b) => backend.interact(shape, samples, form.bottom ? b.bottom : undefined, b.pooled, b.output),
        );
        pair.check(
          `gradients of ${what}`,
          {
            ...inputs,
            dOutput: operand(normals(samples * width, random)),
            dBottom: output(form.bottom ? samples * dim : 0),
            dPooled: output(samples * tables * dim),
          },
          (backend, b) => {
            const [bottom, dBottom] = form.bottom ? [b.bottom, b.dBottom] : [];
            backend.interactBackward(shape, samples, bottom, b.pooled, b.dOutput, dBottom, b.dPooled);
          },
        );
      }
    }
  });

  test("loss: extreme logits, a rank's share, and the sum that goes on", (pair) => {
    const random = new Random(5);
    for (const [samples, batch] of [[0, 3], [1, 1], [5, 16], [67, 67], [128, 300]]) {
      const logits = normals(samples, random).map((z, i) => i % 7 === 3 ? 60 * z : z);
      const labels = Float32Array.from({ length: samples }, (_, i) => [0, 1, 0.25][i % 3]);
      pair.check(
        `loss of ${samples} of ${batch} samples`,
        {
          header: header(batch),
          logits: operand(logits),
          labels: section(labels),
          dLogits: output(samples),
          lossSum: operand(Float32Array.of(2.5)),
        },
        (backend, b) => {
          backend.loss(samples, b.header, b.logits, b.labels, b.dLogits, b.lossSum);
          backend.loss(samples, b.header, b.logits, b.labels, b.dLogits, b.lossSum);
        },
      );
    }
  });

  test("row updates: each rank's share, and all of them", (pair) => {
    const random = new Random(6);
    for (const optimizer of OPTIMIZER_NAMES) {
      for (const [at, dim] of [1, 3, 4, 16, 18, 33].entries()) {
        const ranks = 1 + at % 3;
        for (const { name, batch, tableRows } of hardBatches(random)) {
          const { words, sections, lookups, distinct, shape } = batch;
          const bags = shape.batchSize * shape.tables;
          const stateWords = rowStateWords(optimizer, dim);
          const operands = {
            header: operand(words.slice(0, HEADER_WORDS)),
            segments: section(words.slice(sections.segments, sections.segments + 2 * (distinct + 1))),
            segmentBags: section(words.slice(sections.segmentBags, sections.segmentBags + lookups)),
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
            );
          const what = `${optimizer}, dim ${dim}, ${name}`;
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

  test("a repeated sequence reads the batch that is there", (pair) => {
    const random = new Random(10);
    const [samples, inputs, outputs] = [6, 5, 3];
    const shape = { inputs, outputs, activation: "relu" } as const;
    const batches = [0.1, 0.2, 0.3].map((rate) => {
      const head = header(samples).values as Uint32Array;
      new Float32Array(head.buffer)[Header.learningRate] = rate;
      return { head, x: normals(samples * inputs, random) };
    });
    pair.check(
      "repeatable",
      {
        header: header(samples),
        x: section(new Float32Array(samples * inputs)),
        weight: operand(normals(inputs * outputs, random)),
        bias: operand(normals(outputs, random)),
        y: output(samples * outputs),
        dY: operand(normals(samples * outputs, random)),
        dWeight: output(inputs * outputs),
        dBias: output(outputs),
      },
      (backend, b) => {
        const dY = new Float32Array(samples * outputs);
        backend.download(b.dY, dY);
        let replay: (() => void) | undefined;
        for (const { head, x } of batches) {
          backend.upload(head, b.header);
          backend.upload(x, b.x);
          backend.upload(dY, b.dY);
          if (replay !== undefined) replay();
          else {
            replay = backend.repeatable(() => {
              backend.linear(shape, samples, b.x, b.weight, b.bias, b.y);
              backend.linearBackward(shape, samples, b.x, b.weight, b.y, b.dY, undefined, b.dWeight, b.dBias);
              backend.updateDense("sgd", inputs * outputs, b.header, b.weight, b.dWeight, undefined);
            });
          }
        }
      },
    );
  });
}
