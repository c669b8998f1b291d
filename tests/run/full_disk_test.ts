/** Checkpoints that cannot be written: the error names the last good checkpoint, and the run can be resumed. */
import assert from "node:assert/strict";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { HotsetError } from "../../src/errors.ts";
import { resolveConfig } from "../../src/config/config.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { onSmallDisk, SmallDisk } from "../support/small_disk.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const CONFIG = resolveConfig("kaggle", {
  ...{ bottom: [8], top: [8, 1], dim: 8, device: "cpu", ranks: 1, mode: "cpu", batchSize: 64, epochs: 3 },
  ...{ checkpointSteps: 10, keep: 1 },
});

function dataOf(directory: TemporaryDirectory): Dataset {
  return tinyDataset(directory.join("data"), {
    ...{ samples: { train: 2560, validation: 64, test: 64 }, tableRows: [20_000, 50], denseFeatures: 3 },
    ...{ bags: false, seed: 1, skew: 2 },
  });
}

/** Trains and does something when the first checkpoint is complete. Returns how it failed. */
async function failAfterCheckpoint(dataset: Dataset, out: string, work: () => void): Promise<HotsetError> {
  let isDone = false;
  const report = ({ event }: RunEvent) => {
    if (event !== "checkpoint" || isDone) return;
    isDone = true;
    work();
  };
  return await startRun(CONFIG, dataset, { out, report }).then(() => assert.fail("it trained"), (error) => error);
}

Deno.test("a checkpoint that cannot be written: the error names the last good one, and how to go on", async () => {
  using place = new TemporaryDirectory();
  const out = place.join("run");
  const error = await failAfterCheckpoint(dataOf(place), out, () => {
    Deno.mkdirSync(`${out}/step-30`);
    Deno.writeTextFileSync(`${out}/step-30/notes`, "of someone else");
  });
  assert.equal(
    error.message,
    `Cannot write checkpoint ${out}/step-30: the directory contains something else; the last good checkpoint is ` +
      `${out}/last: continue with train --resume --out ${out}`,
  );
  assert.equal(error.code, "occupied");
  Deno.removeSync(`${out}/step-30`, { recursive: true });
  assert.equal((await resumeRun({ out, report: () => {} })).steps, 120);
});

Deno.test({
  ...onSmallDisk("a disk that fills up in mid-run"),
  fn: async () => {
    using place = new TemporaryDirectory();
    const dataset = dataOf(place);
    using disk = new SmallDisk(6); // a checkpoint takes 0.64 MB
    const out = disk.join("run");
    let filler = "";
    const error = await failAfterCheckpoint(dataset, out, () => filler = disk.fill());
    assert.equal(error.code, "no-space");
    assert.match(error.message, /^Cannot write .*: No space left on device; the last good checkpoint is /i);
    assert.ok(error.message.endsWith(`${out}/last: free some space, then continue with train --resume --out ${out}`));
    await assert.rejects(
      resumeRun({ out, report: () => {} }),
      (error) => error instanceof HotsetError && error.code === "no-space" && /^Cannot train run/.test(error.message),
    );
    Deno.removeSync(filler);
    assert.equal((await resumeRun({ out, report: () => {} })).steps, 120);
  },
});
