/**
 * Values that a computation can lose silently: NaN, infinities, -0 and denormals. Each is put into each operand of each
 * operation, both where vector instructions read it and in the remainder. Only differences that
 * `src/backend/backend.ts` permits are accepted.
 */
import assert from "node:assert/strict";
import {
  type Activation,
  type Backend,
  Header,
  HEADER_WORDS,
  type InteractionKind,
  interactionWidth,
} from "../../src/backend/backend.ts";
import { denseStateWords, OPTIMIZER_NAMES, type OptimizerName, rowStateWords } from "../../src/optimizer/optimizers.ts";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { type Case, define, magnitudes, powers, SAMPLES } from "./special_case.ts";
import { stepsOf } from "./special_values_of_steps.ts";
import { apply, header, type Operand, operand, output, rows, section, sparseBatch } from "./operands.ts";

const LARGE = 2 ** 127;
const SPECIAL = [NaN, Infinity, -Infinity, -0, LARGE];
/** Makes every number of an operand one of the smallest, which have fewer bits than others. */
const TINY = 2 ** -138;
/** A width whose end is not read as a vector, and one of whole vectors. */
const WIDTHS = [5, 8];
/** Widths of layers that are large enough to be multiplied in bf16. */
const WIDE = [33, 40];
const RELATIVE = 1e-5;
/** What sigmoids may leave of e^x where the reference has 0. */
const NOTHING = 2 ** -120;

/** True if `actual` says what `expected` does; the sign of a zero says nothing. */
function isSame(actual: number, expected: number): boolean {
  if (!Number.isFinite(expected)) return Object.is(actual, expected);
  if (expected === 0) return Math.abs(actual) <= NOTHING;
  return Math.abs(actual - expected) <= RELATIVE * Math.abs(expected);
}

/** A result beside the reference's, after `value` was put into the operand `injected`. */
interface Difference {
  readonly what: string;
  readonly operand: string;
  /** The element of the operand. */
  readonly element: number;
  readonly injected: string;
  /** The element of `injected` that was replaced; undefined if all were. */
  readonly position?: number | undefined;
  readonly value: number;
  readonly actual: number;
  readonly expected: number;
}

/** What may differ from the reference, by the table in `src/backend/backend.ts`; the first two are in `isSame`. */
const ALLOWED = {
  /** Sums in f32 may pass its largest number where the reference's, in f64, do not. */
  overflow: ({ value, actual }: Difference) => value === LARGE && !Number.isFinite(actual),
  /** A vector that is not finite may be multiplied by the 0 on the diagonal of its gradients' matrix: its own gradient. */
  diagonal: ({ what, operand, element, injected, position, value, actual }: Difference) => {
    const dim = Number(/^gradients of dot interaction, dim (\d+)/.exec(what)?.[1]);
    return { bottom: "dBottom", pooled: "dPooled" }[injected] === operand && !Number.isFinite(value) &&
      Math.floor(element / dim) === Math.floor(position! / dim) && Number.isNaN(actual);
  },
  /** Denormal moments lose a bit, which a division by Adam's epsilon enlarges. */
  moments: ({ what, value, actual, expected }: Difference) =>
    what.startsWith("adam") && value === TINY && Math.abs(actual - expected) < 2 ** -122,
  /** Denormal gradients of norms lose two bits. */
  norms: ({ what, value, actual, expected }: Difference) =>
    what.startsWith("gradients of norms") && value === TINY && Math.abs(actual - expected) <= 2 ** -147,
  /** Products in bf16 take the smallest numbers for 0, and may multiply an infinity by the 0 behind an odd number of terms. */
  bf16: ({ what, value, actual, expected }: Difference) =>
    what.includes("linear") &&
    (value === TINY ? Math.abs(actual) <= Math.abs(expected) : !Number.isFinite(value) && Number.isNaN(actual)),
  /** cuDNN's gradient of ReLU where the output is NaN, and of a gradient that is not finite where the output is 0. */
  cudnn: ({ what, operand, injected, value, actual }: Difference) =>
    /^gradients of linear .*relu/.test(what) && !Number.isFinite(value) &&
    (injected === "dY" ? Number.isNaN(actual) : injected === "y" && Number.isNaN(value)) &&
    (operand !== "dY" || Number.isNaN(actual) || actual === 0),
};

/** A value that was put into operands. */
interface Change {
  readonly what: string;
  readonly injected: string;
  readonly position?: number;
  readonly value: number;
  readonly operands: Record<string, Operand>;
}

function* changesOf({ operands, inputs }: Case): Generator<Change> {
  const replaced = (change: (name: string, values: Float32Array) => Float32Array) =>
    Object.fromEntries(
      Object.entries(operands).map(([name, operand]) => [
        name,
        inputs.includes(name) ? { ...operand, values: change(name, operand.values as Float32Array) } : operand,
      ]),
    );
  const tiny = (values: Float32Array) => values.map((v) => v * TINY);
  for (const injected of inputs) {
    const { length } = operands[injected].values;
    const position = length % WIDTHS[1] === 0 ? length / 2 : length - 1;
    for (const value of SPECIAL) {
      yield {
        what: `${injected}[${position}] = ${Object.is(value, -0) ? "-0" : value}`,
        ...{ injected, position, value },
        operands: replaced((name, values) => name === injected ? values.with(position, value) : values),
      };
    }
    yield {
      what: `tiny ${injected}`,
      ...{ injected, value: TINY },
      operands: replaced((name, values) => name === injected ? tiny(values) : values),
    };
  }
  yield { what: "all tiny", injected: "all", value: TINY, operands: replaced((_, values) => tiny(values)) };
}

/**
 * Fails unless the backend treats all special values as the reference does, but for what the contract allows. With
 * activations by cuDNN or cuBLASLt only layers are checked: all else is done as without.
 */
export function specialValues(
  backend: Backend,
  activations: "own" | "cudnn" | "cublaslt" = "own",
  precision: "fp32" | "bf16" = "fp32",
): void {
  const reference = new ReferenceBackend();
  const allowed = [
    ALLOWED.overflow,
    ALLOWED.diagonal,
    ALLOWED.moments,
    ALLOWED.norms,
    ...(precision === "bf16" ? [ALLOWED.bf16] : []),
    ...(activations === "cudnn" ? [ALLOWED.cudnn] : []),
  ];
  for (const each of cases()) {
    if (activations !== "own" && !each.what.includes("linear")) continue;
    for (const { what, injected, position, value, operands } of changesOf(each)) {
      const message = `${each.what}, ${what}`;
      const [expected, actual] = [reference, backend].map((one) => apply(one, operands, each.run, message));
      for (const operand of Object.keys(operands)) {
        for (let i = 0; i < expected[operand].length; i++) {
          const [wanted, found] = [expected[operand][i], actual[operand][i]];
          if (isSame(found, wanted)) continue;
          const place = { what: each.what, operand, element: i, injected, position };
          const difference = { ...place, value, expected: wanted, actual: found };
          if (allowed.some((allows) => allows(difference))) continue;
          assert.fail(`${operand} of ${message}: element ${i} is ${found}, the reference has ${wanted}`);
        }
      }
    }
  }
}

function* cases(): Generator<Case> {
  for (const width of [...WIDTHS, ...WIDE]) {
    for (const activation of ["identity", "relu", "sigmoid"] as const) yield* layers(width, activation);
  }
  for (const width of WIDTHS) {
    yield* elements(width);
    yield* multiplyAdds(width);
    for (const kind of ["dot", "cat"] as const) yield* interactions(width, kind);
    for (const degree of [1, 2] as const) yield* machines(width, degree);
    yield* stepsOf(width);
    yield* means(width);
    yield* dropouts(width);
    yield* rowsThatMove(width);
    for (const optimizer of OPTIMIZER_NAMES) yield* updates(width, optimizer);
  }
  yield* interactions(12, "dot", 26, 33); // enough for products of a library, and one sample more
  yield losses();
}

function* layers(width: number, activation: Activation): Generator<Case> {
  const shape = { inputs: width, outputs: width, activation };
  const x = section(powers(SAMPLES * width));
  const weight = operand(powers(width * width, 0.5));
  yield define({
    what: `linear ${width}, ${activation}`,
    operands: { x, weight, bias: operand(new Float32Array(width)), y: output(SAMPLES * width) },
    inputs: ["x", "weight", "bias"],
    run: (backend, b) => backend.linear(shape, SAMPLES, b.x, b.weight, b.bias, b.y),
  });
  const y = activation === "identity" ? powers(SAMPLES * width) : magnitudes(SAMPLES * width);
  if (activation === "relu") y[Math.floor(y.length / 2)] = 0; // a unit that is off passes no gradient on
  yield define({
    what: `gradients of linear ${width}, ${activation}`,
    operands: {
      ...{ x, weight, y: operand(y), dY: operand(powers(SAMPLES * width)) },
      ...{ dX: output(SAMPLES * width), dWeight: output(width * width), dBias: output(width) },
    },
    inputs: ["x", "weight", "y", "dY"],
    run: (backend, b) => backend.linearBackward(shape, SAMPLES, b),
  });
  if (activation !== "identity") return;
  yield define({
    what: `sums of ${width} columns`,
    operands: { x: operand(powers(SAMPLES * width)), sums: output(width) },
    inputs: ["x"],
    run: (backend, b) => backend.columnSums(SAMPLES, width, b.x, b.sums),
  });
}

function* elements(words: number): Generator<Case> {
  yield define({
    what: `sum of ${words} words`,
    operands: { source: operand(powers(words)), target: operand(powers(words, 0.5)) },
    inputs: ["source", "target"],
    run: (backend, b) => backend.add(words, b.source, b.target),
  });
}

function* multiplyAdds(width: number): Generator<Case> {
  const words = SAMPLES * width;
  const operands = {
    ...{ a: operand(powers(words)), b: operand(powers(words, 0.5)), bias: operand(magnitudes(width)) },
    c: operand(magnitudes(words)),
  };
  yield define({
    what: `multiplyAdd of ${width} values`,
    operands: { ...operands, y: output(words) },
    inputs: ["a", "b", "bias", "c"],
    run: (backend, b) => backend.multiplyAdd({ width }, SAMPLES, b, b.y),
  });
  const { a, b, bias, c } = operands;
  for (const adds of [false, true]) {
    yield define({
      what: `gradients of multiplyAdd of ${width} values${adds ? ", added" : ""}`,
      operands: {
        ...{ a, b, bias, dY: operand(powers(words)), dB: output(words), dBias: output(width) },
        ...{ dA: adds ? c : output(words), dC: adds ? c : output(words) },
      },
      inputs: adds ? ["a", "b", "bias", "dY", "dA", "dC"] : ["a", "b", "bias", "dY"],
      run: (backend, b) => backend.multiplyAddBackward({ width, addsA: adds, addsC: adds }, SAMPLES, b),
    });
  }
}

function* dropouts(width: number): Generator<Case> {
  const words = new Uint32Array(HEADER_WORDS);
  for (const step of [0, 1]) {
    words[Header.step] = step;
    yield define({
      what: `dropout of ${width} values, step ${step}`,
      operands: {
        header: operand(words.slice()),
        x: operand(powers(SAMPLES * width)),
        y: output(SAMPLES * width),
      },
      inputs: ["x"],
      run: (backend, b) => backend.dropout({ width, rate: 0.5, key: 9, firstSample: 2 }, SAMPLES, b.header, b.x, b.y),
    });
  }
}

function* means(dim: number): Generator<Case> {
  yield define({
    what: `means of bags, dim ${dim}`,
    operands: {
      offsets: section(Uint32Array.of(0, 2, 2, 6, 7)),
      x: operand(magnitudes(4 * dim)),
      y: output(4 * dim),
    },
    inputs: ["x"],
    run: (backend, b) => backend.meanOfBags(4, dim, b.offsets, b.x, b.y),
  });
}

function* machines(dim: number, degree: 1 | 2): Generator<Case> {
  const tables = 3;
  const shape = { degree, sharedBias: false, tables, dim };
  const pooled = operand(powers(SAMPLES * tables * dim));
  yield define({
    what: `factorisation machine of degree ${degree}, dim ${dim}`,
    operands: { pooled, bias: operand(powers(SAMPLES)), y: output(SAMPLES) },
    inputs: ["pooled", "bias"],
    run: (backend, b) => backend.factorise(shape, SAMPLES, b.pooled, b.bias, b.y),
  });
  yield define({
    what: `gradients of a factorisation machine of degree ${degree}, dim ${dim}`,
    operands: {
      ...{ pooled, dY: operand(powers(SAMPLES)) },
      ...{ dPooled: output(SAMPLES * tables * dim), dBias: output(SAMPLES) },
    },
    inputs: ["pooled", "dY"],
    run: (backend, b) => backend.factoriseBackward(shape, SAMPLES, b),
  });
}

function* interactions(dim: number, kind: InteractionKind, tables = 3, samples = SAMPLES): Generator<Case> {
  const shape = { kind, bottom: true, tables, dim };
  const words = samples * interactionWidth(shape);
  const inputs = { bottom: operand(powers(samples * dim)), pooled: operand(powers(samples * tables * dim)) };
  yield define({
    what: `${kind} interaction, dim ${dim}, ${tables} tables`,
    operands: { ...inputs, output: output(words) },
    inputs: ["bottom", "pooled"],
    run: (backend, b) => backend.interact(shape, samples, b.bottom, b.pooled, b.output),
  });
  yield define({
    what: `gradients of ${kind} interaction, dim ${dim}, ${tables} tables`,
    operands: {
      ...{ ...inputs, dOutput: operand(powers(words)) },
      ...{ dBottom: output(samples * dim), dPooled: output(samples * tables * dim) },
    },
    inputs: ["bottom", "pooled", "dOutput"],
    run: (backend, b) => backend.interactBackward(shape, samples, b),
  });
}

function* rowsThatMove(dim: number): Generator<Case> {
  const table = rows(powers(6 * dim));
  const lookups = section(Uint32Array.of(0, 5, 3, 0, 2));
  yield define({
    what: `pooling of bags, dim ${dim}`,
    operands: { table, lookups, offsets: section(Uint32Array.of(0, 1, 1, 4, 5)), pooled: output(4 * dim) },
    inputs: ["table"],
    run: (backend, b) => backend.pool(4, dim, b.table, b.lookups, b.offsets, b.pooled),
  });
  const weights = section(Float32Array.of(1, -1, 0, 2, 1));
  yield define({
    what: `weighted pooling of bags, dim ${dim}`,
    operands: { table, lookups, weights, offsets: section(Uint32Array.of(0, 1, 1, 4, 5)), pooled: output(4 * dim) },
    inputs: ["table"],
    run: (backend, b) => backend.pool(4, dim, b.table, b.lookups, b.offsets, b.pooled, b.weights),
  });
  yield define({
    what: `pooling of single lookups, dim ${dim}`,
    operands: { table, lookups, pooled: output(5 * dim) },
    inputs: ["table"],
    run: (backend, b) => backend.pool(5, dim, b.table, b.lookups, undefined, b.pooled),
  });
  const list = operand(Uint32Array.of(5, 0, 3));
  yield define({
    what: `packing of rows, dim ${dim}`,
    operands: { table, list, packed: output(3 * dim) },
    inputs: ["table"],
    run: (backend, b) => backend.packRows(3, dim, b.table, b.list, b.packed),
  });
  yield define({
    what: `unpacking of rows, dim ${dim}`,
    operands: { table, list, packed: operand(powers(3 * dim)) },
    inputs: ["table", "packed"],
    run: (backend, b) => backend.unpackRows(3, dim, b.packed, b.list, b.table),
  });
}

function* updates(dim: number, optimizer: OptimizerName): Generator<Case> {
  const stateWords = rowStateWords(optimizer, dim);
  // A row of one lookup, one of several, and one so frequent that a device shares it out.
  const { words, sections, lookups, distinct } = sparseBatch([1, 2, 3, 40], 1, (k) => [0, 2, 5, 5, 2, 2][k] ?? 3);
  yield define({
    what: `${optimizer} of rows, dim ${dim}`,
    operands: {
      header: operand(words.slice(0, HEADER_WORDS)),
      segments: section(words.slice(sections.segments, sections.segments + 2 * (distinct + 1))),
      segmentBags: section(words.slice(sections.segmentBags, sections.segmentBags + lookups)),
      dPooled: operand(powers(4 * dim)),
      table: rows(powers(6 * dim)),
      state: rows(magnitudes(6 * stateWords)),
    },
    inputs: stateWords === 0 ? ["dPooled", "table"] : ["dPooled", "table", "state"],
    run: (backend, b) =>
      backend.updateRows(
        { optimizer, dim, rank: 0, ranks: 1 },
        ...[b.header, b.segments, b.segmentBags, b.dPooled, b.table] as const,
        stateWords === 0 ? undefined : b.state,
      ),
  });
  const denseState = denseStateWords(optimizer, dim);
  const hasState = denseState > 0;
  yield define({
    what: `${optimizer} of dense parameters`,
    operands: {
      ...{ header: header(4), parameters: operand(powers(dim)), gradients: operand(powers(dim)) },
      state: operand(magnitudes(denseState)),
    },
    inputs: hasState ? ["parameters", "gradients", "state"] : ["parameters", "gradients"],
    run: (backend, b) =>
      backend.updateDense(optimizer, dim, b.header, b.parameters, b.gradients, hasState ? b.state : undefined),
  });
}

function losses(): Case {
  return define({
    what: "loss",
    operands: {
      ...{ header: header(4), logits: operand(powers(4)), labels: section(Float32Array.of(0, 1, 0.25, 1)) },
      ...{ dLogits: output(4), lossSum: operand(Float32Array.of(2)) },
    },
    inputs: ["logits", "labels", "lossSum"],
    run: (backend, b) => backend.loss(4, b.header, b.logits, b.labels, b.dLogits, b.lossSum),
  });
}
