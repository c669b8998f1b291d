/** What a terminal of 80 columns shows of training. */
import assert from "node:assert/strict";
import type { ResultEvent } from "../../src/events/events.ts";
import { duration } from "../../src/format.ts";
import { Random } from "../../src/random.ts";
import { type Progress, progressLine, progressText, RemainingTime } from "../../src/report/progress_line.ts";
import { resultTable } from "../../src/report/tables.ts";

const TRAINING: Progress = {
  name: "train",
  fraction: 0.31,
  remaining: 200,
  training: { steps: 2000, epoch: 2, epochs: 3, samplesPerSecond: 12_345, loss: 0.57401, hotShare: 0.12 },
};

Deno.test("the line of progress fits any width, and leaves out the least important", () => {
  const huge: Progress = {
    ...TRAINING,
    remaining: 90_000,
    training: { ...TRAINING.training!, steps: 123_456_789, epoch: 10, epochs: 12, samplesPerSecond: 12_345_678 },
  };
  for (const progress of [TRAINING, huge, { name: "prepare: read", fraction: 0.5, remaining: undefined }]) {
    for (let columns = 1; columns < 200; columns++) {
      assert.ok(progressLine(progress, columns).length <= columns, `${columns}`);
    }
  }
  assert.equal(
    progressText(TRAINING),
    "train step 620/2,000, epoch 2/3, ETA 3 min 20 s, 12,345/s, loss 0.5740, hot 12%",
  );
  assert.match(
    progressLine({ ...TRAINING, training: { ...TRAINING.training!, hotShare: 0 } }, 79),
    /^train █+░+ step 620\/2,000, epoch 2\/3, ETA 3 min 20 s, 12,345\/s, loss 0\.5740$/,
  );
  assert.match(progressLine(huge, 79), /^train step 38,271,605\/123,456,789, .*ETA 25 h 0 min/);
  assert.equal(progressLine(TRAINING, 40), "train step 620/2,000, ETA 3 min 20 s");
  assert.equal(
    progressLine({ name: "prepare: read", fraction: 0.5, remaining: 8 }, 79),
    `prepare: read ${"█".repeat(14)}${"░".repeat(14)} 50%, ETA 8 s`,
  );
  assert.deepEqual([0, 59.4, 59.6, 3599, 3600, 7500].map(duration), [
    ...["0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "2 h 5 min"],
  ]);
});

Deno.test("the remaining time does not jump, whatever the speed of single steps", () => {
  const random = new Random(1, 1);
  const remaining = new RemainingTime();
  assert.equal(remaining.after(0.1, 0), undefined, "a resumed run has not done what is complete");
  let [ms, before] = [0, NaN];
  for (let step = 1; step <= 900; step++) {
    // Steps of 20 to 180 ms, and an evaluation of 1 s after every hundredth.
    ms += 20 + 160 * random.uniform() + (step % 100 === 0 ? 1000 : 0);
    const seconds = remaining.after(0.1 + step / 1000, ms);
    if (ms < 2000) assert.equal(seconds, undefined);
    if (seconds === undefined) continue;
    const left = (900 - step) * 0.11;
    assert.ok(Math.abs(seconds - left) <= 3 + 0.25 * left, `${seconds} instead of ${left} at ${step}`);
    if (step > 100) assert.ok(!(Math.abs(seconds - before) > 10), `from ${before} to ${seconds}`);
    before = seconds;
  }
  assert.equal(before, 0);
});

Deno.test("the final table and its text fit in 80 columns", () => {
  const metrics = { auc: 0.79101, logloss: 0.45012, accuracy: 0.78333, byGroup: { gauc: 0.61, logloss: 0.4 } };
  const result = {
    ...{ mode: "fae", moved: {}, samplesPerSecond: 1_234_567, seconds: 12_345, split: "test", device: "cuda" },
    ...{ hotRows: 123_456, hotBytes: 123_456_789, hotSampleShare: 0.123, hostToDeviceBytes: 1e10 },
    ...{ deviceToHostBytes: 1e9, launchesPerStep: { hot: 12.1, cold: 34.5 } },
    ...metrics,
    byGroup: { ...metrics.byGroup, groups: 123_456, oneClass: 1234 },
    best: { ...metrics, step: 123_456 },
    last: { ...metrics, step: 234_567 },
  } as unknown as ResultEvent;
  const lines = resultTable([result, { ...result, mode: "cpu" }], 80).split("\n");
  for (const line of lines) assert.ok(line.length <= 80, `${line.length}: ${line}`);
  assert.match(lines[1], /^fae\+disk +1,234,567 +12345 s +best 123,456 +0\.7910 +0\.4501 +78\.3 % +0\.6100$/);
});
