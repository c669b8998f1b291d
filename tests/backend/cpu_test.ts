import assert from "node:assert/strict";
import { type HostBackend, interactionWidth } from "../../src/backend/backend.ts";
import { CpuBackend } from "../../src/backend/cpu/cpu.ts";
import { newKernelMemory } from "../../src/backend/cpu/kernel_memory.ts";
import { cpuOptions, openHost } from "../../src/backend/open.ts";
import { Random } from "../../src/random.ts";
import { assertClose } from "../support/close.ts";
import { absent } from "../support/libraries.ts";
import { someOf } from "../support/series.ts";
import { conformance } from "./conformance.ts";

const tolerance = 2e-5;
const LIBRARIES = [["openblas", "OpenBLAS"], ["onednn", "oneDNN"], ["ort", "ONNX Runtime"]] as const;

/** A backend that finds no room for tables in the kernels' memory. */
class FarTables extends CpuBackend {
  override allocateTable(words: number) {
    return this.wrap(new Float32Array(new SharedArrayBuffer(4 * words)));
  }
}

conformance("cpu, WASM", async () => await openHost(await cpuOptions("wasm")), { tolerance });
// The default suite takes one that is there, so that each is tested where it alone is (deno task evidence kernels).
const missing = ([blas]: (typeof LIBRARIES)[number]) => Number(absent(blas) !== undefined);
for (const [blas, name] of someOf(LIBRARIES.toSorted((a, b) => missing(a) - missing(b)), LIBRARIES.length)) {
  const open = async () => await openHost(await cpuOptions(blas));
  conformance(`cpu, ${name}`, open, { tolerance, absent: absent(blas), only: "layers" });
}
const bf16 = async () => await openHost(await cpuOptions("onednn", "bf16"));
conformance("cpu, oneDNN in bf16", bf16, {
  tolerance: 2e-2,
  absent: absent("bf16"),
  precision: "bf16",
  only: "layers",
});

Deno.test({
  name:
    "cpu: gradients in bf16 have equal bits whether or not they use what the forward pass, or one before, has rounded",
  ignore: absent("bf16") !== undefined,
  fn: async () => {
    const [samples, inputs, outputs] = [37, 40, 33];
    const shape = { inputs, outputs, activation: "identity" } as const;
    using host = await bf16();
    const random = new Random(5);
    const filled = (words: number) => {
      const buffer = host.allocate(words, "test");
      host.floats(buffer).forEach((_, i, floats) => floats[i] = random.normal());
      return buffer;
    };
    const [x, weight, bias, dY] = [samples * inputs, inputs * outputs, outputs, samples * outputs].map(filled);
    const [y, dX, dWeight, dBias] = [dY, x, weight, bias].map(({ words }) => host.allocate(words, "test"));
    const gradients = (forward: boolean) => {
      if (forward) host.linear(shape, samples, x, weight, bias, y);
      host.linearBackward(shape, samples, { x, weight, y, dY, dX, dWeight, dBias });
      return [dX, dWeight, dBias].map((buffer) => [...host.floats(buffer)]);
    };
    const first = gradients(true);
    assert.deepEqual(gradients(false), first);
    for (const buffer of [x, weight]) host.floats(buffer).forEach((value, i, floats) => floats[i] = 2 * value);
    const doubled = gradients(false);
    assert.notDeepEqual(doubled, first);
    assert.deepEqual(gradients(true)[1], doubled[1]);
    const same = { ...shape, sameWeight: true };
    host.floats(weight).fill(0); // as documented, has no effect on what was made of it
    host.linear(same, samples, x, weight, bias, y);
    host.linearBackward(same, samples, { x, weight, y, dY, dX, dWeight, dBias });
    assert.deepEqual([...host.floats(dX)], doubled[0]);
    host.linear(shape, samples, x, weight, bias, y);
    assert.ok(host.floats(y).subarray(0, outputs).every((value, i) => value === host.floats(bias)[i]));
  },
});

const far = () => new FarTables(newKernelMemory(), "wasm", undefined);
conformance("cpu, tables outside kernel memory", far, { tolerance, only: "rows" });

const WAYS: [string, (host: HostBackend, words: number) => ReturnType<HostBackend["allocate"]>][] = [
  ["in kernel memory", (host, words) => host.allocate(words, "test")],
  ["outside", (host, words) => host.wrap(new Float32Array(new SharedArrayBuffer(4 * words)))],
];

for (const [where, allocate] of WAYS) {
  Deno.test(`cpu: what one rank shares another attaches to, ${where}`, async () => {
    const options = await cpuOptions("wasm");
    const [one, other] = [await openHost(options), await openHost(options)];
    const whole = allocate(one, 100);
    const part = one.view(whole, 30, 40);
    const attached = other.attach(structuredClone(one.share(part)));
    assert.equal(attached.words, 40);
    other.upload(Float32Array.of(1, 2, 3), other.view(attached, 5, 3));
    assert.deepEqual([...one.floats(whole).subarray(34, 39)], [0, 1, 2, 3, 0]);
    one.floats(part)[0] = 7;
    assert.equal(other.floats(attached)[0], 7);
    // An operation of the other rank over attached memory.
    const rows = other.allocate(2, "rows");
    other.upload(Uint32Array.of(1, 0), rows);
    const packed = other.allocate(8, "packed");
    other.packRows(2, 4, attached, rows, packed);
    assert.deepEqual([...other.floats(packed)], [0, 1, 2, 3, 7, 0, 0, 0]);
  });
}

Deno.test("cpu: ranks of one memory never get the same words", async () => {
  const options = await cpuOptions("wasm");
  const hosts = [await openHost(options), await openHost(options)];
  const buffers = Array.from({ length: 40 }, (_, i) => hosts[i % 2].allocate(1 + 997 * i, "test"));
  buffers.forEach((buffer, i) => hosts[i % 2].floats(buffer).fill(i));
  buffers.forEach((buffer, i) => assert.ok(hosts[i % 2].floats(buffer).every((x) => x === i)));
});

Deno.test("cpu: adding vectors", async () => {
  const host = await openHost(await cpuOptions("wasm"));
  for (const words of [0, 1, 4, 7, 130]) {
    const [source, target] = [host.allocate(words, "source"), host.allocate(words + 1, "target")];
    host.floats(source).forEach((_, i, all) => all[i] = i);
    host.floats(target).fill(0.5);
    host.add(words, source, target);
    assert.deepEqual([...host.floats(target)], [...Array.from({ length: words }, (_, i) => i + 0.5), 0.5]);
  }
});

const KEPT_LAYERS = [[19, 37], [37, 5], [64, 48], [130, 367], [512, 40]];
for (const precision of ["fp32", "bf16"] as const) {
  for (const blas of precision === "bf16" ? ["onednn"] as const : ["wasm", "openblas", "onednn", "ort"] as const) {
    const missing = blas === "wasm" ? undefined : absent(precision === "bf16" ? "bf16" : blas);
    Deno.test({
      name:
        `cpu: weights that are kept are packed until they may change, with the results of others: ${blas}, ${precision}${
          missing === undefined ? "" : ` (skipped: ${missing})`
        }`,
      ignore: missing !== undefined,
      fn: async () => {
        using host = await openHost(await cpuOptions(blas, precision));
        const random = new Random(8);
        const room = 30;
        for (const [inputs, outputs] of KEPT_LAYERS) {
          const shape = { inputs, outputs, activation: "relu" } as const;
          const [x, weight, y, few] = [room * inputs, outputs * inputs, room * outputs, 7 * outputs].map((words) =>
            host.allocate(words, "test")
          );
          const bias = host.allocate(outputs, "test");
          const what = `${inputs} to ${outputs}`;
          host.prepareLinear(shape, x, weight);
          for (let change = 0; change < 2; change++) {
            host.floats(weight).forEach((_, i, all) => all[i] = random.normal() / Math.sqrt(inputs));
            host.floats(x).forEach((_, i, all) => all[i] = random.normal());
            host.floats(x)[inputs] = NaN;
            host.floats(x)[2 * inputs] = Infinity;
            const result = (samples: number, kept: boolean, to = y) => {
              host.keepWeights!(kept);
              host.floats(to).fill(7);
              host.linear(shape, samples, x, weight, bias, to);
              return host.floats(to).slice(0, samples * outputs);
            };
            const expected = result(room, false);
            const kept = result(room, true);
            assert.ok(kept.subarray(outputs, 2 * outputs).every(Number.isNaN), what);
            const finite = (values: Float32Array) => [...values].map(Number.isFinite);
            assert.deepEqual(finite(kept), finite(expected), what);
            const rest = 3 * outputs;
            assertClose(kept.subarray(rest), expected.subarray(rest), 2e-5, what);
            // Of packed weights, the bits of a row depend neither on the number of samples nor on the room for them.
            const packs = blas === "wasm" || (blas === "onednn" && Math.min(inputs, outputs) >= 32);
            for (const [samples, to] of [[1, y], [2, y], [4, y], [24, y], [25, y], [7, few]] as const) {
              const some = result(samples, true, to);
              if (packs) assert.deepEqual([...some], [...kept.subarray(0, some.length)], `${what}, ${samples} samples`);
              else assert.deepEqual(finite(some), finite(kept.subarray(0, some.length)), `${what}, ${samples} samples`);
            }
          }
        }
      },
    });
  }
}

Deno.test("cpu: unshared memory cannot be shared", async () => {
  const host = await openHost(await cpuOptions("wasm"));
  assert.throws(() => host.share(host.wrap(new Float32Array(4))), /unshared/);
});

Deno.test({
  name: "cpu: ONNX Runtime multiplies matrices that are made anew each time, and those of before again",
  ignore: absent("ort") !== undefined,
  fn: async () => {
    using host = await openHost(await cpuOptions("ort"));
    const shape = { inputs: 1, outputs: 1, activation: "identity" } as const;
    const [x, weight, bias] = [3, 1, 1].map((words) => host.allocate(words, "test"));
    host.floats(x).set([1, 2, 3]);
    host.floats(weight)[0] = 2;
    const all = host.allocate(3, "test");
    const multiply = (samples: number) => {
      const y = host.view(all, 0, samples);
      host.linear(shape, samples, host.view(x, 0, samples), weight, bias, y);
      return [...host.floats(y)];
    };
    for (let time = 0; time < 10_000; time++) multiply(1 + time % 3);
    assert.deepEqual(multiply(3), [2, 4, 6]);
    host.floats(weight)[0] = 5; // read again, not remembered
    assert.deepEqual(multiply(2), [5, 10]);
  },
});

Deno.test({
  name: "cpu: an interaction by oneDNN gives a sample the same bits among any number of samples",
  ignore: absent("onednn") !== undefined,
  fn: async () => {
    // Of so many terms that the kernels' sums have other bits.
    const shape = { kind: "dot", bottom: true, tables: 3, dim: 2000 } as const;
    const [most, width] = [37, interactionWidth(shape)];
    using host = await openHost(await cpuOptions("onednn"));
    const random = new Random(6);
    const [bottom, pooled, dOutput] = [shape.dim, shape.tables * shape.dim, width].map((words) => {
      const buffer = host.allocate(most * words, "test");
      host.floats(buffer).forEach((_, i, all) => all[i] = random.normal());
      return buffer;
    });
    const results = [width, shape.dim, shape.tables * shape.dim];
    const [output, dBottom, dPooled] = results.map((words) => host.allocate(most * words, "test"));
    const compute = (samples: number) => {
      host.interact(shape, samples, bottom, pooled, output);
      host.interactBackward(shape, samples, { bottom, pooled, dOutput, dBottom, dPooled });
      return [output, dBottom, dPooled].map((buffer) => host.floats(buffer).slice());
    };
    const all = compute(most);
    for (const samples of [1, 7, 31, 33]) {
      for (const buffer of [output, dBottom, dPooled]) host.floats(buffer).fill(0.5);
      compute(samples).forEach((found, i) => {
        const end = samples * results[i];
        assert.deepEqual(found.subarray(0, end), all[i].subarray(0, end), `${samples} samples`);
        assert.ok(found.subarray(end).every((value) => value === 0.5), `${samples} samples: what follows`);
      });
    }
  },
});
