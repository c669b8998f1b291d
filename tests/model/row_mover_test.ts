import assert from "node:assert/strict";
import type { HostBackend } from "../../src/backend/backend.ts";
import { OPTIMIZER_NAMES, type OptimizerName, rowStateWords } from "../../src/optimizer/optimizers.ts";
import { cpuOptions, openHost } from "../../src/backend/open.ts";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import type { EmbeddingStore } from "../../src/model/dlrm.ts";
import { RowMover } from "../../src/model/row_mover.ts";
import { Random } from "../../src/random.ts";

const DIM = 3;

/** A store whose row r holds r + base in its weights, and as much and a half in its state. */
function storeOf(backend: HostBackend, rows: number, optimizer: OptimizerName, base: number): EmbeddingStore {
  const fill = (words: number, extra: number) => {
    const buffer = backend.allocateTable(rows * words, "test");
    backend.upload(Float32Array.from({ length: rows * words }, (_, i) => base + Math.floor(i / words) + extra), buffer);
    return buffer;
  };
  const stateWords = rowStateWords(optimizer, DIM);
  return { backend, rows, weights: fill(DIM, 0), state: stateWords === 0 ? undefined : fill(stateWords, 0.5) };
}

function words({ backend, weights, state }: EmbeddingStore): [Float32Array, Float32Array] {
  const read = (buffer: typeof weights | undefined) => {
    const target = new Float32Array(buffer?.words ?? 0);
    if (buffer !== undefined) backend.download(buffer, target);
    return target;
  };
  return [read(weights), read(state)];
}

const BASE = 100_000;

for (const optimizer of OPTIMIZER_NAMES) {
  for (const backends of ["one backend", "device to host", "host to device"] as const) {
    Deno.test(`rows move with their state, all others stay: ${optimizer}, ${backends}`, async () => {
      const host = await openHost(await cpuOptions("wasm"));
      const device = new ReferenceBackend(); // memory of its own stands for a device's
      const [from, to] =
        { "one backend": [host, host], "device to host": [device, host], "host to device": [host, device] }[
          backends
        ];
      const shape = {
        dim: DIM,
        tableRows: [40_000],
        bottom: [1, DIM],
        top: [1],
        interaction: "dot",
        optimizer,
      } as const;
      const mover = new RowMover(shape, host);
      const random = new Random(1);
      const stateWords = rowStateWords(optimizer, DIM);
      // More rows than move at a time, in any order; then few; then none.
      for (const count of [40_000, 5, 0]) {
        const source = storeOf(from, 40_000, optimizer, BASE);
        const target = storeOf(to, 50_000, optimizer, 0);
        const shuffled = (rows: number) =>
          random.shuffle(Uint32Array.from({ length: rows }, (_, i) => i)).slice(0, count);
        const [read, write] = [shuffled(40_000), shuffled(50_000)];
        const before = words(source);
        mover.move(source, read, target, write);
        const expected = Float64Array.from({ length: 50_000 }, (_, row) => row);
        write.forEach((row, i) => expected[row] = BASE + read[i]);
        const [weights, state] = words(target);
        assert.ok(weights.every((x, i) => x === expected[Math.floor(i / DIM)]));
        assert.ok(state.every((x, i) => x === expected[Math.floor(i / stateWords)] + 0.5));
        assert.equal(state.length, 50_000 * stateWords);
        assert.deepEqual(words(source), before);
      }
    });
  }
}
