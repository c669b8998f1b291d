import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { generateDataset, writeCriteoLog } from "../../src/dataset/generate.ts";
import { HotsetError } from "../../src/errors.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { startRun } from "../../src/run/run.ts";
import { freeBytes } from "../../src/storage/disk.ts";
import { roomForCheckpoints, shareRoom } from "../../src/checkpoint/checkpoint_room.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const MIB = 2 ** 20;
const ONCE = { epochs: 1, testFreq: 0, checkpointSteps: 0, checkpointMinutes: 0, keep: 2 };
const OFTEN = { ...ONCE, epochs: 2 };
const BY_STEPS = { ...OFTEN, checkpointSteps: 10 };

/** Options, MiB free, checkpoints of 10 MiB that are there, and how many are kept; undefined for a refusal. */
const CASES: [options: typeof ONCE, free: number, present: number, keep: number | undefined][] = [
  [ONCE, 10, 0, 2],
  [ONCE, 9, 0, undefined],
  [{ ...ONCE, testFreq: 5 }, 29, 0, undefined],
  [OFTEN, 30, 0, 2],
  [OFTEN, 29, 0, undefined],
  [OFTEN, 10, 2, 2],
  [OFTEN, 9, 2, undefined],
  [BY_STEPS, 50, 0, 2],
  [BY_STEPS, 49, 0, 1],
  [BY_STEPS, 30, 0, 0],
  [BY_STEPS, 29, 0, undefined],
  [{ ...BY_STEPS, keep: 0 }, 30, 0, 0],
  [{ ...ONCE, checkpointSteps: 10 }, 20, 0, 0],
  [{ ...ONCE, checkpointMinutes: 30 }, 10, 0, 0],
];

for (const [options, free, present, keep] of CASES) {
  Deno.test(`room for checkpoints: ${JSON.stringify(options)}, ${free} MiB, ${present} there`, () => {
    const share = () => shareRoom("run", options, 10 * MIB, free * MIB, 10 * MIB * present);
    if (keep === undefined) {
      assert.throws(share, (error) => {
        assert.ok(error instanceof HotsetError && error.code === "no-space");
        assert.match(
          error.message,
          /^Cannot train run run: its disk has .* MiB free, and its checkpoints take \d times 10\.0 MiB/,
        );
        return true;
      });
      return;
    }
    const room = share();
    assert.equal(room.keep, keep);
    assert.equal(room.note === undefined, keep === options.keep);
  });
}

Deno.test("the room of a disk is asked where a run will be, and checkpoints that are there count once", async () => {
  using place = new TemporaryDirectory();
  const run = place.join("not", "yet", "run");
  const free = freeBytes(run)!;
  assert.ok(free > 0);
  assert.throws(() => roomForCheckpoints(run, OFTEN, free / 2), /^HotsetError: Cannot train run/);
  const dataset = tinyDataset(place.join("data"), {
    ...{ samples: { train: 64, validation: 32, test: 32 }, tableRows: [9, 5], denseFeatures: 2 },
    ...{ bags: false, seed: 1, skew: 2 },
  });
  const config = resolveConfig("kaggle", { bottom: [4], top: [4, 1], dim: 4, device: "cpu", ranks: 1, mode: "cpu" });
  await startRun(config, dataset, { out: run, report: () => {} });
  // What these two hold, which is next to nothing, counts as free, once.
  assert.throws(() => roomForCheckpoints(run, OFTEN, free / 1.5), /^HotsetError: Cannot train run/);
  assert.equal(roomForCheckpoints(run, OFTEN, free / 3.5).keep, 2);
});

Deno.test("what is known to be too large for a disk is refused before anything is written", async () => {
  using place = new TemporaryDirectory();
  const options = {
    shape: "kaggle",
    samples: 1e14,
    seed: 1,
    scale: 1000,
    fractions: { validation: 0, test: 0 },
  } as const;
  const refused = (work: () => Promise<unknown>) =>
    assert.rejects(work, (error) => error instanceof HotsetError && error.code === "no-space");
  await refused(() => generateDataset(place.join("data"), options));
  await refused(() => writeCriteoLog(place.join("log.tsv"), options));
  assert.ok(!existsSync(place.join("data")) && !existsSync(place.join("log.tsv")));
});
