import assert from "node:assert/strict";
import { ReadAhead } from "../../src/layout/read_ahead.ts";
import { resolveConfig } from "../../src/config/config.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { RankGroup } from "../../src/ranks/rank_group.ts";
import { HOST_SLOTS } from "../../src/ranks/train_state.ts";
import { startRun } from "../../src/run/run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

Deno.test("threads that read ahead change no bit, across switches, evaluations and epochs", async () => {
  using directory = new TemporaryDirectory();
  const dataset = tinyDataset(directory.join("data"), {
    samples: { train: 100_000, validation: 300, test: 310 },
    tableRows: [20_000, 50, 17_000, 3],
    denseFeatures: 3,
    bags: false,
    seed: 1,
    skew: 8,
  });
  const model = { bottom: [12, 16], top: [12, 1], batchSize: 500, hotMemory: 24_000, ranks: 1 };
  const config = resolveConfig("kaggle", {
    ...model,
    device: "cpu",
    epochs: 2,
    testFreq: 37,
    printFreq: 1,
    save: false,
  });
  const freeCores = Object.getOwnPropertyDescriptor(RankGroup.prototype, "freeCores")!;
  const { ask } = ReadAhead.prototype;
  let most = 0;
  ReadAhead.prototype.ask = function (slot, kind, index) {
    ask.call(this, slot, kind, index);
    most = Math.max(most, this.waiting);
  };
  const trained = async (cores: number) => {
    Object.defineProperty(RankGroup.prototype, "freeCores", { get: () => cores, configurable: true });
    most = 0;
    const events: RunEvent[] = [];
    await startRun(config, dataset, { out: directory.join(`run-${cores}`), report: (event) => events.push(event) });
    const losses = events.flatMap((event) =>
      event.event === "progress" ? [event.loss] : event.event === "evaluation" ? [event.logloss, event.auc] : []
    );
    return { losses, most };
  };
  try {
    const alone = await trained(0);
    const ahead = await trained(2);
    assert.deepEqual([alone.most, ahead.most], [1, HOST_SLOTS - 1]);
    assert.ok(alone.losses.length > 400);
    assert.deepEqual(ahead.losses, alone.losses);
  } finally {
    ReadAhead.prototype.ask = ask;
    Object.defineProperty(RankGroup.prototype, "freeCores", freeCores);
  }
});
