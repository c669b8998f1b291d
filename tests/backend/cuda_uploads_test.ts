/** Uploads from pinned memory, which overlap earlier operations and for which the host waits later. */
import assert from "node:assert/strict";
import { Header, HEADER_WORDS } from "../../src/backend/backend.ts";
import type { CudaBackend } from "../../src/backend/cuda/backend.ts";
import { openCuda } from "../../src/backend/cuda/open.ts";
import { testDevice } from "../support/cuda_device.ts";

/** Parts of one memory of the host, with words between them that belong to no upload. */
function parts(count: number, words: number): Float32Array[] {
  const memory = new SharedArrayBuffer(4 * (count * (words + 3) + 3));
  return Array.from({ length: count }, (_, part) => new Float32Array(memory, 4 * (3 + part * (words + 3)), words));
}

function uploadsOf(backend: CudaBackend, sources: Float32Array[]) {
  const uploads = backend.newUploads(sources);
  return typeof uploads === "string" ? assert.fail(uploads) : uploads;
}

Deno.test("each step sees its own batch, although the host writes the next ones meanwhile, in either order of copies", () => {
  const slots = 3, steps = 20, words = HEADER_WORDS + 4;
  for (const copiesFirst of [false, true]) {
    using backend = openCuda({ device: testDevice, emulated: { copiesFirst } });
    const sources = parts(slots, words);
    const uploads = uploadsOf(backend, sources);
    const parameters = backend.allocate(4, "parameters");
    const targets = sources.map(() => backend.allocate(words, "batch"));
    const sequences = targets.map((target) => {
      const [header, gradients] = [backend.view(target, 0, HEADER_WORDS), backend.view(target, HEADER_WORDS, 4)];
      let run: (() => void) | undefined; // recorded at its first batch
      return () => {
        if (run !== undefined) return run();
        run = backend.repeatable(() => backend.updateDense("sgd", 4, header, parameters, gradients, undefined));
      };
    });
    for (let step = 0; step < steps; step++) {
      const slot = step % slots;
      uploads[slot].wait();
      sources[slot].fill(0);
      sources[slot][Header.learningRate] = 1;
      sources[slot].fill(2 ** step, HEADER_WORDS);
      uploads[slot].begin(words, targets[slot]);
      sequences[slot]();
    }
    const values = new Float32Array(4);
    backend.download(parameters, values);
    assert.deepEqual([...values], new Array(4).fill(-(2 ** steps - 1)));
    assert.equal(backend.counters.bytesToDevice, 4 * words * steps);
  }
});

Deno.test("an upload that does not fit, or is to be recorded, is refused", () => {
  using backend = openCuda({ device: testDevice });
  const [upload] = uploadsOf(backend, parts(1, 8));
  const target = backend.allocate(4, "a batch");
  assert.throws(() => upload.begin(5, target), { name: "RangeError", message: /20 bytes: a batch has 16/ });
  assert.throws(() => upload.begin(9, backend.allocate(20, "more")), { name: "RangeError", message: /36 bytes of 32/ });
  let recording = false;
  assert.throws(() =>
    backend.repeatable(() => {
      if (recording) upload.begin(4, target);
      recording = true;
    }), /Cannot upload a batch: a recorded sequence may not copy/);
});

Deno.test("memory stays pinned until the last copy from it is done, and not longer", () => {
  const backend = openCuda({ device: "emulated" });
  const { emulated } = backend.device.libraries;
  const target = backend.allocate(8, "a batch"); // freed last, which waits for the device
  const [upload] = uploadsOf(backend, parts(1, 8));
  assert.ok([...emulated!.pinned.values()].some(({ length }) => length === 32));
  upload.begin(8, target); // the emulated device does nothing before somebody waits
  backend[Symbol.dispose](); // throws if anything is left
  assert.deepEqual([emulated!.fault, emulated!.pinned.size], [undefined, 0]);
});
