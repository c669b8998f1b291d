/** Every operation of the CUDA backend against the reference, on odd shapes. */
import { writeSteps } from "./operands.ts";
import assert from "node:assert/strict";
import {
  type Activation,
  type Backend,
  type Buffer,
  Header,
  HEADER_WORDS,
  interactionWidth,
} from "../../src/backend/backend.ts";
import { denseStateWords, OPTIMIZER_NAMES, rowStateWords } from "../../src/optimizer/optimizers.ts";
import { openCuda } from "../../src/backend/cuda/open.ts";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { SEGMENTS_END } from "../../src/layout/batch.ts";
import { Random } from "../../src/random.ts";
import { testDevice } from "../support/cuda_device.ts";
import { specialValues } from "./special_values.ts";
import { onlyInAll } from "../support/series.ts";

const cuda = openCuda({ device: testDevice, activations: "ptx" });
const cudnn = openCuda({ device: testDevice, activations: "cudnn" });
const lt = openCuda({ device: testDevice, activations: "cublaslt" });
const reference = new ReferenceBackend();
globalThis.addEventListener("unload", () => {
  cuda[Symbol.dispose]();
  cudnn[Symbol.dispose]();
  lt[Symbol.dispose]();
});

/** A buffer on one backend. */
type Make = (values: Float32Array | Uint32Array) => Buffer;

/**
 * Runs the same operation on both backends from the same inputs and compares what `outputs` of it holds afterwards.
 * `operate` makes its buffers by `make`, always in the same order, and returns the buffers to compare.
 */
function agree(operate: (backend: Backend, make: Make) => Buffer[], tolerance = 2e-5, backend: Backend = cuda): void {
  const results = [backend, reference].map((backend) => {
    const outputs = operate(backend, (values) => {
      const buffer = backend.allocate(values.length, "test");
      if (values.length > 0) backend.upload(values, buffer);
      return buffer;
    });
    return outputs.map((output) => {
      const values = new Float32Array(output.words);
      backend.download(output, values);
      return values;
    });
  });
  results[0].forEach((values, output) => {
    const expected = results[1][output];
    const scale = Math.max(1, ...expected.map(Math.abs));
    for (let i = 0; i < values.length; i++) {
      if (Math.abs(values[i] - expected[i]) <= tolerance * scale) continue;
      assert.fail(`output ${output}[${i}]: ${values[i]} where the reference has ${expected[i]}`);
    }
  });
}

function normals(count: number, seed: number): Float32Array {
  const random = new Random(seed);
  return Float32Array.from({ length: count }, () => random.normal());
}

function header(
  fields: { samples?: number; lookups?: number; distinct?: number; rate?: number; rowL2?: number },
): Uint32Array {
  const words = new Uint32Array(HEADER_WORDS);
  words[Header.samples] = fields.samples ?? 0;
  words[Header.lookups] = fields.lookups ?? 0;
  words[Header.distinct] = fields.distinct ?? 0;
  const floats = new Float32Array(words.buffer);
  writeSteps(floats, fields.rate ?? 0);
  floats[Header.rowL2] = fields.rowL2 ?? 0;
  return words;
}

for (const [library, backend] of [["own", cuda], ["cudnn", cudnn], ["cublaslt", lt]] as const) {
  Deno.test(`NaN, infinities, -0 and the smallest numbers, in every operand of every operation: ${library} activations`, () =>
    specialValues(backend, library));
}

const LAYERS = [[1, 1, 1], [3, 5, 2], [33, 13, 16], [130, 16, 1], [7, 64, 20], [1133, 2, 9]];
const ACTIVATIONS: Activation[] = ["identity", "relu", "sigmoid"];

for (const [library, backend] of [["ptx", cuda], ["cudnn", cudnn], ["cublaslt", lt]] as const) {
  Deno.test(`linear and linearBackward agree with the reference, activations by ${library}`, () => {
    for (const [samples, inputs, outputs] of LAYERS) {
      for (const activation of ACTIVATIONS) {
        const shape = { inputs, outputs, activation };
        for (const withDX of [true, false]) {
          agree(
            (backend, make) => {
              const x = make(normals(samples * inputs, 1)), weight = make(normals(outputs * inputs, 2));
              const bias = make(normals(outputs, 3)), y = make(new Float32Array(samples * outputs));
              backend.linear(shape, samples, x, weight, bias, y);
              const dY = make(normals(samples * outputs, 4)), dX = make(new Float32Array(samples * inputs));
              const dWeight = make(new Float32Array(outputs * inputs)), dBias = make(new Float32Array(outputs));
              const gradients = { x, weight, y, dY, dX: withDX ? dX : undefined, dWeight, dBias };
              backend.linearBackward(shape, samples, gradients);
              return [y, dY, dX, dWeight, dBias];
            },
            2e-5,
            backend,
          );
        }
      }
    }
  });
}

Deno.test("operands that begin at any word of their memory: the same layer, activations by cublaslt", () => {
  const [samples, inputs, outputs] = [5, 8, 12];
  const alone = [0, 1, 2, 3].map((operand) => [0, 0, 0, 0].with(operand, 1));
  for (const shifts of [...[0, 1, 2, 3].map((shift) => [shift, shift, shift, shift]), ...alone]) {
    const shifted = (make: Make, backend: Backend, values: Float32Array, shift: number) =>
      backend.view(make(Float32Array.of(...new Float32Array(shift), ...values)), shift, values.length);
    agree(
      (backend, make) => {
        const [x, weight, bias] = [samples * inputs, outputs * inputs, outputs].map((count, i) =>
          shifted(make, backend, normals(count, i + 1), shifts[i])
        );
        const y = shifted(make, backend, new Float32Array(samples * outputs), shifts[3]);
        backend.linear({ inputs, outputs, activation: "relu" }, samples, x, weight, bias, y);
        return [y];
      },
      2e-5,
      lt,
    );
  }
});

Deno.test("linear agrees within the precision of tf32 and bf16, and differs from fp32", () => {
  for (
    const [activations, precision, tolerance] of [
      ["ptx", "tf32", 2e-3],
      ["ptx", "bf16", 2e-2],
      ["cublaslt", "tf32", 2e-3],
      ["cublaslt", "bf16", 2e-2],
    ] as const
  ) {
    using backend = openCuda({ device: testDevice, precision, activations });
    const product = (backend: Backend, make: Make) => {
      const y = make(new Float32Array(9 * 5));
      const shape = { inputs: 40, outputs: 5, activation: "identity" } as const;
      backend.linear(shape, 9, make(normals(360, 1)), make(normals(200, 2)), make(normals(5, 3)), y);
      return [y];
    };
    agree(product, tolerance, backend);
    assert.throws(() => agree(product, tolerance / 100, backend));
  }
});

Deno.test("pool agrees with the reference: one lookup a bag, bags, empty bags, narrow and unaligned rows", () => {
  const random = new Random(5);
  for (const dim of [1, 3, 4, 16, 18, 64, 132]) {
    for (const bags of [1, 7, 65]) {
      const table = normals(40 * dim, 6);
      const single = Uint32Array.from({ length: bags }, () => random.below(40));
      agree((backend, make) => {
        const pooled = make(new Float32Array(bags * dim));
        backend.pool(bags, dim, make(table), make(single), undefined, pooled);
        return [pooled];
      });
      const offsets = new Uint32Array(bags + 1);
      for (let bag = 0; bag < bags; bag++) offsets[bag + 1] = offsets[bag] + random.below(4); // often empty
      const indices = Uint32Array.from({ length: offsets[bags] + 1 }, () => random.below(40));
      agree((backend, make) => {
        const pooled = make(new Float32Array(bags * dim).fill(9));
        backend.pool(bags, dim, make(table), make(indices), make(offsets), pooled);
        return [pooled];
      });
      agree((backend, make) => { // a view that begins at an odd word cannot be read 16 bytes at a time
        const pooled = make(new Float32Array(bags * dim));
        const shifted = backend.view(make(normals(40 * dim + 1, 7)), 1, 40 * dim);
        backend.pool(bags, dim, shifted, make(single), undefined, pooled);
        return [pooled];
      });
    }
  }
});

Deno.test("interact and interactBackward agree with the reference", () => {
  for (const [kind, bottom] of [["dot", true], ["cat", true], ["dot", false]] as const) {
    for (const [samples, tables, dim] of [[1, 1, 1], [3, 2, 4], [5, 7, 6], [2, 26, 16], [1, 33, 3], [2, 40, 8]]) {
      const shape = { kind, bottom, tables, dim };
      agree((backend, make) => {
        const x = bottom ? make(normals(samples * dim, 1)) : undefined,
          pooled = make(normals(samples * tables * dim, 2));
        const output = make(new Float32Array(samples * interactionWidth(shape)));
        backend.interact(shape, samples, x, pooled, output);
        const dOutput = make(normals(output.words, 3));
        const dX = x && make(new Float32Array(x.words)), dPooled = make(new Float32Array(pooled.words));
        backend.interactBackward(shape, samples, { bottom: x, pooled, dOutput, dBottom: dX, dPooled });
        return [output, ...(dX === undefined ? [] : [dX]), dPooled];
      });
    }
  }
});

Deno.test("loss agrees with the reference: extreme logits, part of a batch, sums that add up", () => {
  for (const samples of [1, 31, 33, 1500, 9000]) {
    const logits = normals(samples, 1).map((x) => 4 * x);
    logits[0] = 90;
    if (samples > 30) [logits[1], logits[2], logits[3]] = [-90, -200, 0];
    const labels = Float32Array.from({ length: samples }, (_, i) => i % 3 === 0 ? 1 : i % 5 === 0 ? 0.25 : 0);
    agree((backend, make) => {
      const lossSum = make(new Float32Array([3])), dLogits = make(new Float32Array(samples));
      const words = make(header({ samples: 2 * samples }));
      backend.loss(samples, words, make(logits), make(labels), dLogits, lossSum);
      return [dLogits, lossSum];
    }, 1e-6);
  }
});

Deno.test("columnSums agrees with the reference: sums of parts, and of their sums", () => {
  for (const [samples, columns] of [[0, 3], [512, 9], [513, 9], [1100, 17], [512 * 512 + 1, 1]]) {
    agree((backend, make) => {
      const x = make(normals(samples * columns, 1)), sums = make(normals(columns, 2));
      backend.columnSums(samples, columns, x, sums);
      return [sums];
    });
  }
});

/** Distinct rows with their bags, in the layout of a batch; counts[s] lookups of row 3 s + 1. */
function segmentsOf(counts: number[], bags: number, seed: number) {
  const random = new Random(seed);
  const lookups = counts.reduce((sum, count) => sum + count, 0);
  const segments = new Uint32Array(2 * (counts.length + 1) + 6); // room for more, as a batch has
  const segmentBags = new Uint32Array(lookups);
  let next = 0;
  counts.forEach((count, s) => {
    segments[2 * s] = 3 * s + 1;
    segments[2 * s + 1] = next;
    const drawn = Array.from({ length: count }, () => random.below(bags)).sort((a, b) => a - b);
    for (const bag of drawn) segmentBags[next++] = bag;
  });
  segments[2 * counts.length] = SEGMENTS_END;
  segments[2 * counts.length + 1] = lookups;
  return { segments, segmentBags, lookups };
}

/** So many lookups that those of popular rows are summed ahead: in chunks of which some, one or none is a row's. */
const CHUNKED = [
  { counts: [3, 253, 256, 500, 511, 14_000, 300, 40, 1, 600], dim: 4 },
  { counts: [16_384], dim: 3 },
];

for (const optimizer of OPTIMIZER_NAMES) {
  Deno.test(`updateRows agrees with the reference: ${optimizer}, rows hit once, often and by the whole batch`, () => {
    const shapes = [
      { counts: [1], dim: 1 },
      { counts: [1, 33, 2, 500, 1, 1, 64, 32], dim: 16 },
      { counts: [200], dim: 6 },
      { counts: [40, 1, 3, 100], dim: 132 }, // more than 32 lanes of 16 bytes
      { counts: [40, 2], dim: 37 }, // more than 32 lanes of one word
      { counts: Array.from({ length: 150 }, (_, s) => s % 40 === 7 ? 45 : 1 + s % 3), dim: 8 },
      ...(optimizer === "sgd" || onlyInAll === undefined ? CHUNKED : []),
    ];
    for (const { counts, dim } of shapes) {
      const { segments, segmentBags, lookups } = segmentsOf(counts, 20, dim);
      const rows = 3 * counts.length + 1, stateWords = rows * rowStateWords(optimizer, dim);
      for (const ranks of [1, 3]) {
        agree((backend, make) => {
          const words = make(
            header({ samples: 20, lookups, distinct: counts.length, rate: 0.1, rowL2: ranks === 1 ? 0 : 0.2 }),
          );
          const table = make(normals(rows * dim, 8)), state = make(normals(stateWords, 9).map((x) => x * x));
          const lists = [make(segments), make(segmentBags), make(normals(20 * dim, 10))] as const;
          for (let rank = 0; rank < ranks; rank++) {
            const shape = { optimizer, dim, rank, ranks };
            backend.updateRows(shape, words, ...lists, table, optimizer === "sgd" ? undefined : state);
          }
          return [table, state];
        });
      }
    }
  });

  Deno.test(`updateDense agrees with the reference: ${optimizer}`, () => {
    for (const words of [1, 255, 1000]) {
      agree((backend, make) => {
        const stateWords = denseStateWords(optimizer, words);
        const parameters = make(normals(words, 1)), state = make(normals(stateWords, 2).map((x) => x * x));
        const gradients = make(normals(words, 3));
        const head = make(header({ rate: 0.05 }));
        backend.updateDense(optimizer, words, head, parameters, gradients, stateWords === 0 ? undefined : state);
        return [parameters, state];
      });
    }
  });
}

Deno.test("packRows and unpackRows agree with the reference, bit by bit", () => {
  for (const [count, dim] of [[1, 1], [5, 4], [17, 6], [30, 16]]) {
    const rows = new Random(4).shuffle(Uint32Array.from({ length: 40 }, (_, i) => i)).subarray(0, count);
    agree((backend, make) => {
      const table = make(normals(40 * dim, 1)), packed = make(new Float32Array(count * dim));
      const places = make(rows);
      backend.packRows(count, dim, table, places, packed);
      const other = make(normals(40 * dim, 2));
      backend.unpackRows(count, dim, packed, places, other);
      return [packed, other];
    }, 0);
  }
});
