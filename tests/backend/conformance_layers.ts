/** Conformance tests of layers and the loss. */
import {
  type Activation,
  Header,
  HEADER_WORDS,
  type InteractionShape,
  interactionWidth,
} from "../../src/backend/backend.ts";
import { writeLoss } from "../../src/model/loss.ts";
import { Random } from "../../src/random.ts";
import { header, normals, operand, output, section } from "./operands.ts";

import type { Register } from "./pair.ts";

const ACTIVATIONS: Activation[] = ["identity", "relu", "sigmoid"];
const INTERACTIONS: Pick<InteractionShape, "kind" | "bottom">[] = [
  { kind: "dot", bottom: true },
  { kind: "cat", bottom: true },
  { kind: "dot", bottom: false },
];

/** Samples, tables and dim. */
const INTERACTION_SIZES = [
  [1, 1, 1],
  [2, 3, 5],
  [5, 2, 4],
  [3, 26, 16],
  [4, 7, 17],
  [0, 3, 4],
  [32, 26, 16],
  [67, 16, 17],
  [33, 26, 64],
  [17, 108, 5],
];

/** Registers them. */
export function layerTests(test: Register): void {
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
          (backend, b) => backend.linearBackward(shape, samples, b),
        );
        pair.check(
          `gradients without dX of ${what}`,
          backward,
          (backend, b) => backend.linearBackward(shape, samples, { ...b, dX: undefined }),
        );
      }
    }
  });

  test("dropout: the same values are dropped everywhere, in every step others, and none where a batch is scored", (pair) => {
    const random = new Random(13);
    for (const [samples, width] of [[0, 3], [1, 1], [3, 5], [17, 16], [40, 33]]) {
      for (
        const [rate, firstSample, step] of [[0.5, 0, 1], [0.1, 7, 2], [0.999, 1, 77], [0.3, 0, 0], [0.2, 2 ** 27, 9], [
          1 - 2 ** -40,
          0,
          3,
        ]]
      ) {
        const shape = { width, rate, key: 0xfedcba98 + step, firstSample };
        const words = new Uint32Array(HEADER_WORDS);
        words[Header.step] = step;
        pair.check(
          `dropout ${rate} of ${samples} samples of ${width} from ${firstSample}, step ${step}`,
          {
            header: operand(words),
            x: operand(normals(samples * width, random)),
            y: output(samples * width),
          },
          (backend, b) => backend.dropout(shape, samples, b.header, b.x, b.y),
        );
      }
    }
  });

  test("linear without bias and its gradients", (pair, backend) => {
    const random = new Random(12);
    for (const [samples, inputs, outputs] of [[1, 1, 1], [5, 17, 31], [33, 65, 30], [64, 40, 64], [0, 6, 5]]) {
      const shape = { inputs, outputs, activation: "identity" } as const;
      const what = `linear without bias, ${samples} samples, ${inputs} to ${outputs}`;
      const operands = {
        x: section(normals(samples * inputs, random)),
        weight: operand(normals(inputs * outputs, random).map((w) => w / Math.sqrt(inputs))),
      };
      pair.check(
        what,
        { ...operands, y: output(samples * outputs) },
        (backend, b) => {
          backend.prepareLinear(shape, b.x, b.weight);
          backend.linear(shape, samples, b.x, b.weight, undefined, b.y);
        },
      );
      for (const adds of backend.addsProducts ? [false, true] : [false]) {
        const gradient = (words: number) => adds ? operand(normals(words, random)) : output(words);
        pair.check(
          `gradients of ${what}${adds ? ", added" : ""}`,
          {
            ...operands,
            y: operand(normals(samples * outputs, random)),
            dY: operand(normals(samples * outputs, random).map((g) => g / Math.sqrt(Math.max(samples, outputs)))),
            dX: gradient(samples * inputs),
            dWeight: gradient(inputs * outputs),
          },
          (backend, b) => {
            backend.prepareLinear(shape, b.x, b.weight);
            backend.linearBackward(shape, samples, { ...b, dBias: undefined, addsX: adds, addsWeight: adds });
          },
        );
      }
    }
  });

  test("sums and products, element by element", (pair) => {
    const random = new Random(13);
    for (const words of [0, 1, 3, 4, 67, 1024, 2047]) {
      const vector = () => operand(normals(words, random));
      pair.check(
        `sum of ${words} words`,
        { source: vector(), target: vector() },
        (backend, b) => backend.add(words, b.source, b.target),
      );
    }
    for (const [samples, width] of [[0, 3], [1, 1], [3, 5], [4, 8], [9, 67], [5, 432]]) {
      const what = `multiplyAdd of ${samples} samples, width ${width}`;
      const words = samples * width;
      const vector = () => operand(normals(words, random));
      const factors = { a: vector(), b: vector(), bias: operand(normals(width, random)) };
      pair.check(
        what,
        { ...factors, c: vector(), y: output(words) },
        (backend, b) => backend.multiplyAdd({ width }, samples, b, b.y),
      );
      pair.check(
        `${what} with a twice`,
        { ...factors, y: output(words) },
        (backend, b) => backend.multiplyAdd({ width }, samples, { ...b, c: b.a }, b.y),
      );
      const others = { ...factors, dB: output(words), dBias: output(width) };
      for (const [addsA, addsC] of [[false, false], [true, false], [false, true], [true, true]]) {
        const shape = { width, addsA, addsC };
        const gradient = (adds: boolean) => adds ? vector() : output(words);
        pair.check(
          `gradients of ${what}, ${addsA}, ${addsC}`,
          { ...others, dY: vector(), dA: gradient(addsA), dC: gradient(addsC) },
          (backend, b) => backend.multiplyAddBackward(shape, samples, b),
        );
        pair.check(
          `gradients of ${what}, ${addsA}, ${addsC}, no dC`,
          { ...others, dY: vector(), dA: gradient(addsA) },
          (backend, b) => backend.multiplyAddBackward(shape, samples, { ...b, dC: undefined }),
        );
        if (!addsA) continue; // two gradients in one buffer
        pair.check(
          `gradients of ${what}, of a and c together, ${addsC}`,
          { ...others, dY: vector(), dA: gradient(addsC) },
          (backend, b) => backend.multiplyAddBackward(shape, samples, { ...b, dC: b.dA }),
        );
        pair.check(
          `gradients of ${what}, of a added to dY`,
          { ...others, dY: vector() },
          (backend, b) => backend.multiplyAddBackward(shape, samples, { ...b, dA: b.dY, dC: undefined }),
        );
      }
    }
  });

  test("factorisation machines and their gradients", (pair) => {
    const random = new Random(14);
    for (const [samples, tables, dim] of [[0, 2, 4], [1, 1, 1], [3, 2, 5], [5, 2, 16], [9, 26, 17], [2, 3, 70]]) {
      for (const degree of [1, 2] as const) {
        for (const sharedBias of [true, false]) {
          const shape = { degree, sharedBias, tables, dim };
          const what = `factorisation machine of degree ${degree}, ${samples} samples, ${tables} tables, dim ${dim}`;
          const pooled = operand(normals(samples * tables * dim, random));
          const bias = operand(normals(sharedBias ? 1 : samples, random));
          pair.check(
            what,
            { pooled, bias, y: output(samples) },
            (backend, b) => backend.factorise(shape, samples, b.pooled, b.bias, b.y),
          );
          pair.check(
            `gradients of ${what}`,
            {
              ...{ pooled, dY: operand(normals(samples, random)), dPooled: output(samples * tables * dim) },
              dBias: output(sharedBias ? 0 : samples),
            },
            (backend, b) =>
              backend.factoriseBackward(shape, samples, { ...b, dBias: sharedBias ? undefined : b.dBias }),
          );
        }
      }
    }
  });

  test("operations over steps and their gradients", (pair) => {
    const random = new Random(15);
    for (const [samples, steps, width] of [[0, 3, 4], [1, 2, 1], [3, 5, 3], [2, 21, 15], [4, 3, 70], [70, 4, 32]]) {
      const shape = { steps, width };
      const what = `${samples} samples of ${steps} steps, width ${width}`;
      const x = operand(normals(samples * steps * width, random));
      const weights = operand(normals(samples * (steps - 1), random));
      const vectors = () => operand(normals(samples * steps * width, random));
      const results = () => output(samples * steps * width);
      const rows = samples * steps;
      pair.check(
        `norms of ${what}`,
        { x, y: results() },
        (backend, b) => backend.stepAttention.normalise(rows, width, b.x, b.y),
      );
      pair.check(
        `gradients of norms of ${what}`,
        { x, dY: vectors(), dX: results() },
        (backend, b) => backend.stepAttention.normaliseBackward(rows, width, b.x, b.dY, b.dX),
      );
      pair.check(
        `scores of ${what}`,
        { x, y: output(samples * (steps - 1)) },
        (backend, b) => backend.stepAttention.scoreSteps(shape, samples, b.x, b.y),
      );
      pair.check(
        `gradients of scores of ${what}`,
        { x, dY: operand(normals(samples * (steps - 1), random)), dX: results() },
        (backend, b) => backend.stepAttention.scoreStepsBackward(shape, samples, b.x, b.dY, b.dX),
      );
      pair.check(
        `weighted sums of ${what}`,
        { x, weights, y: output(2 * samples * width) },
        (backend, b) => backend.stepAttention.weighSteps(shape, samples, b.x, b.weights, b.y),
      );
      pair.check(
        `gradients of weighted sums of ${what}`,
        {
          ...{ x, weights, dY: operand(normals(2 * samples * width, random)) },
          ...{ dX: results(), dWeights: output(samples * (steps - 1)) },
        },
        (backend, b) => backend.stepAttention.weighStepsBackward(shape, samples, b),
      );
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

  test("interaction and its gradients", (pair) => {
    const random = new Random(4);
    for (const form of INTERACTIONS) {
      for (const [samples, tables, dim] of INTERACTION_SIZES) {
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
            backend.interactBackward(shape, samples, { ...b, bottom, dBottom });
          },
        );
      }
    }
  });

  test("loss: extreme logits, weighted samples, a rank's share, and the sum that goes on", (pair) => {
    const random = new Random(5);
    for (const [samples, batch] of [[0, 3], [1, 1], [5, 16], [67, 67], [128, 300]]) {
      const logits = normals(samples, random).map((z, i) => i % 7 === 3 ? 60 * z : z);
      const labels = Float32Array.from({ length: samples }, (_, i) => [0, 1, 0.25, -3][i % 4]);
      const settings = header(batch);
      const head = settings.values as Uint32Array;
      writeLoss(new Float32Array(head.buffer), { positiveWeight: 1 + samples / 64, labelSmoothing: samples / 512 });
      pair.check(
        `loss of ${samples} of ${batch} samples`,
        {
          header: settings,
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
}
