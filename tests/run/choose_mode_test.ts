/** Mode `auto` becomes the fastest mode for which there is memory. */
import assert from "node:assert/strict";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { modeFor } from "../../src/run/choose_mode.ts";
import { planModel, shapeOf } from "../../src/model/shape.ts";
import { startRun } from "../../src/run/run.ts";
import { readRun } from "../../src/run/run_record.ts";
import { CONFIG, dataOf } from "../support/row_runs.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

Deno.test("auto: gpu if everything fits, else cached, on one GPU or several", () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const config: TrainConfig = { ...resolveConfig("kaggle", CONFIG), mode: "auto", ranks: null };
  const tableRows = [6_000_000, 50, 4000, 3];
  const plan = planModel(shapeOf(config, { denseFeatures: 3, tableRows }));
  const tables = 4 * (8 + 8) * plan.rows;
  const notes: string[] = [];
  const report = (event: RunEvent) => event.event === "note" && notes.push(event.text);
  const choose = (device: number | undefined, changes: Partial<TrainConfig> = {}) =>
    modeFor({ ...config, ...changes }, plan, dataset, device, report);
  assert.equal(choose(undefined).mode, "cpu");
  assert.deepEqual(notes, []);
  assert.equal(choose(2 ** 30).mode, "gpu");
  assert.match(
    notes.at(-1)!,
    /^Training in mode gpu: the model and its batches take .* of the 1\.0 GiB of GPU memory /,
  );
  const tight = tables;
  const cached = choose(tight);
  assert.equal(cached.mode, "cached");
  assert.ok(cached.hotMemory < tables && cached.hotMemory > tables / 10, `${cached.hotMemory}`);
  assert.match(notes.at(-1)!, /^Training in mode cached: the model would take .*, which caches rows in /);
  const onTwo = choose(tight, { ranks: 2 });
  assert.equal(onTwo.mode, "cached");
  assert.ok(onTwo.hotMemory > tables / 10 && Math.abs(onTwo.hotMemory / cached.hotMemory - 1) < 0.1);
  assert.match(notes.at(-1)!, /^Training in mode cached: .*, so each GPU caches the same rows in /);
  assert.equal(choose(2 ** 20).mode, "cpu");
});

Deno.test("auto: the record of a run has the mode that was chosen, and other configurations keep theirs", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory);
  const report = () => {};
  for (const [name, device, mode] of [["host", "cpu", "cpu"], ["device", "emulated", "gpu"]] as const) {
    const out = directory.join(name);
    const config: TrainConfig = {
      ...{ ...resolveConfig("kaggle", CONFIG), mode: "auto", device, ranks: 1, batchSize: 990 },
      ...{ blas: device === "cpu" ? "wasm" : "auto", save: true },
    };
    assert.equal((await startRun(config, dataset, { out, report })).mode, mode);
    assert.equal(readRun(out).config.mode, mode);
  }
});

Deno.test("auto: an option that is about one mode implies it, unless a mode is chosen", () => {
  assert.equal(resolveConfig("default").mode, "auto");
  assert.equal(resolveConfig("default", { memory: { share: 0.5 } }).mode, "cpu");
  assert.equal(resolveConfig("default", { memory: null }).mode, "auto");
  assert.equal(resolveConfig("default", { hotMemory: 1000 }).mode, "fae");
  assert.equal(resolveConfig("default", { hotMemory: 1000 }, { mode: "cached" }).mode, "cached");
  assert.throws(() => resolveConfig("default", { mode: "auto", firstTurn: "cold" }), /only mode fae has hot rows/);
});
