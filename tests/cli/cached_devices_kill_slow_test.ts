/** A process that trains with rows cached on two devices is killed, and the run resumed in memory and on a disk. */
import assert from "node:assert/strict";
import { checkpointsOf } from "../support/checkpoint_words.ts";
import { startUntil, TINY_MODEL, Workplace } from "./support.ts";

const FLAGS = [
  ...["--mode", "cached", "--device", "emulated", "--hot-memory", "256KiB", "--batch-size", "32", ...TINY_MODEL],
  ...["--optimizer", "adagrad", "--learning-rate", "0.02", "--print-freq", "5", "--checkpoint-steps", "10"],
];

Deno.test("a run with rows cached on two devices that is killed goes on with the same bits", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 2000);
  await place.succeed("prepare", "log.tsv", "--out", "data");
  await place.succeed("train", "data", ...FLAGS, "--out", "plain");
  const starts = [["train", "data", ...FLAGS], ["train", "--resume", "--memory", "10%"]];
  for (const [i, args] of starts.entries()) {
    // After a checkpoint, and with the steps that follow it.
    const step = new RegExp(`"event":"progress".*"step":${20 * (i + 1) - 5},`);
    const { child, end } = await startUntil(place, [...args, "--out", "run", "--json"], "stdout", step);
    child.kill("SIGKILL");
    assert.notEqual((await end()).code, 0);
  }
  await place.succeed("train", "--resume", "--out", "run");
  assert.deepEqual(checkpointsOf(place.join("run")), checkpointsOf(place.join("plain")));
});
