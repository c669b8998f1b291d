/** A rank on the calling thread copies batches to its device straight from the slots into which they are read. */
import assert from "node:assert/strict";
import { CudaError } from "../../ffi/cuda_error.ts";
import type { CudaBackend } from "../../src/backend/cuda/backend.ts";
import { openCuda } from "../../src/backend/cuda/open.ts";
import { cpuOptions, openHost } from "../../src/backend/open.ts";
import type { TrainConfig } from "../../src/config/config.ts";
import { HotsetError } from "../../src/errors.ts";
import { LocalRank } from "../../src/ranks/rank_group.ts";
import { allocateTrainState, DEVICE_SLOTS } from "../../src/ranks/train_state.ts";
import { planFor } from "../../src/run/run.ts";
import { ensureLayout, ensureProfile } from "../../src/run/stages.ts";
import { contentOf } from "../support/checkpoint_words.ts";
import { testDevice } from "../support/cuda_device.ts";
import { seriesLength } from "../support/series.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { configOf, datasetOf, train } from "./support.ts";

/** The vectors of a run's last checkpoint, and its notes. */
async function trained(config: TrainConfig, device: CudaBackend) {
  using directory = new TemporaryDirectory();
  const dataset = datasetOf(directory, config.seed), { path: cache } = directory;
  const profile = config.mode === "fae" ? await ensureProfile(dataset, config, { cache }, () => {}) : undefined;
  using layout = await ensureLayout(dataset, profile, config, { cache }, () => {});
  assert.ok(layout.batches("cold") + layout.batches("hot") > 2 * DEVICE_SLOTS, "every slot is used again");
  if (config.mode === "fae") assert.ok(layout.batches("cold") > 1 && layout.batches("hot") > 1, "both kinds");
  const host = await openHost(await cpuOptions("wasm"));
  const batches = { batchShape: layout.shape, hotRows: layout.hotRows, mostDistinct: layout.body.mostDistinct };
  const options = { plan: planFor(config, dataset), ...batches, ranks: 1, device, host };
  const notes: string[] = [];
  const memory = allocateTrainState({ ...options, tablesOnDevice: config.mode === "gpu" });
  await using group = new LocalRank(memory, (event) => void (event.event === "note" && notes.push(event.text)));
  await train(group, config, dataset, layout, directory.join("run"));
  return { vectors: contentOf(directory.join("run/last")).vectors, notes };
}

const MODES = ["gpu", "fae", "hybrid"] as const;
const EMULATED_MODES = { test: 1, all: MODES.length, evidence: MODES.length };

for (const mode of testDevice === "emulated" ? MODES.slice(0, seriesLength(EMULATED_MODES)) : MODES) {
  const config: TrainConfig = { ...configOf(4), epochs: 1, mode, hotMemory: mode === "fae" ? 4000 : 0 };

  Deno.test(`mode ${mode}: a slot is read into again only after its batch has been copied`, async () => {
    const expected = await trained({ ...config, printFreq: 1 }, openCuda({ device: testDevice })); // waits after each step
    for (const copiesFirst of [false, true]) {
      const device = openCuda({ device: testDevice, emulated: { copiesFirst } });
      assert.deepEqual(await trained({ ...config, printFreq: 1000 }, device), expected);
    }
    assert.deepEqual(expected.notes, []);
  });
}

Deno.test("where the slots cannot be pinned, batches are copied through other memory, with the same bits and a note", async () => {
  const config = { ...configOf(4), epochs: 1 };
  const device = openCuda({ device: testDevice });
  const { libraries } = device.device;
  const cudaHostRegister = () => {
    const cause = new CudaError("cudaHostRegister", 801, "cudaErrorNotSupported", "operation not supported");
    throw new HotsetError("Cannot run", { cause });
  };
  Object.assign(libraries, { runtime: { ...libraries.runtime, cudaHostRegister } });
  const { vectors, notes } = await trained(config, device);
  assert.deepEqual(vectors, (await trained(config, openCuda({ device: testDevice }))).vectors);
  assert.deepEqual(notes, [
    "Batches are copied once more before they go to the device: " +
    "cudaHostRegister: cudaErrorNotSupported (801), operation not supported",
  ]);
});
