/**
 * The tests that every backend must pass: each operation against the reference backend, on odd shapes. They use only
 * the `Backend` contract, so that they also run on backends whose memory the host cannot read.
 */
import assert from "node:assert/strict";
import { type Backend, type Buffer, Header } from "../../src/backend/backend.ts";
import { Random } from "../../src/random.ts";
import { header, normals, operand, output, section } from "./operands.ts";
import { specialValues } from "./special_values.ts";

import { layerTests } from "./conformance_layers.ts";
import { rowTests } from "./conformance_rows.ts";
import { Pair, type Register } from "./pair.ts";

/** What is known of a backend that is tested. */
interface Tested {
  /** How much results may differ from the reference's, relative or, below 1, absolute. */
  readonly tolerance: number;
  /** The reason why it cannot run here; its tests are skipped. */
  readonly absent?: string | undefined;
  /** Precision of products. */
  readonly precision?: "fp32" | "bf16";
  /** What is tested besides special values and memory, if another test of the same code covers the rest. */
  readonly only?: "layers" | "rows";
}

/** Registers the tests of a backend. `open` is called for every test. */
export function conformance(
  name: string,
  open: () => Promise<Backend> | Backend,
  { tolerance, absent, precision, only }: Tested,
): void {
  const test: Register = (what, body) =>
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
              backend.linearBackward(shape, samples, { ...b, dX: undefined });
              backend.updateDense("sgd", inputs * outputs, b.header, b.weight, b.dWeight, undefined);
            });
          }
        }
      },
    );
  });

  if (only !== "rows") layerTests(test);
  if (only !== "layers") rowTests(test);
}
