/** The presets of published workloads, from a log to metrics, with their own models on small data. */
import assert from "node:assert/strict";
import { type Preset, resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { generateDataset, writeCriteoLog } from "../../src/dataset/generate.ts";
import { Random } from "../../src/random.ts";
import { trainOn } from "../../src/run/run.ts";
import { evaluateRun } from "../../src/run/score_run.ts";
import type { RawOptions } from "../../src/run/stages.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const FRACTIONS = { validation: 0.05, test: 0.1 };
const silent = () => {};

/** Users view items and buy those of one category in five often, others rarely; users and items have power-law use. */
function writeTaobaoLog(path: string, samples: number): void {
  const random = new Random(4);
  const popular = (count: number) => Math.floor(count * random.uniform() ** 3);
  const lines = Array.from({ length: samples }, (_, i) => {
    const item = popular(3000);
    const category = item % 50;
    const behaviour = random.uniform() < (category % 5 === 0 ? 0.4 : 0.05) ? "buy" : "pv";
    return `${1 + popular(2000)},${1 + item},${1 + category},${behaviour},${1511544070 + 20 * i}`;
  });
  Deno.writeTextFileSync(path, lines.join("\n") + "\n");
}

interface Log {
  readonly write: (path: string) => unknown;
  readonly raw: RawOptions;
  /** Options of training on little data. */
  readonly options: Partial<TrainConfig>;
}

/** Data for each preset. */
const LOGS: Readonly<Record<string, Log>> = {
  kaggle: {
    write: (path) =>
      writeCriteoLog(path, { shape: "kaggle", samples: 20_000, scale: 500, seed: 1, fractions: FRACTIONS }),
    raw: { format: "criteo" },
    options: { hotMemory: 1 << 20 },
  },
  terabyte: {
    write: (path) =>
      writeCriteoLog(path, { shape: "terabyte", samples: 20_000, scale: 5000, seed: 2, fractions: FRACTIONS }),
    raw: { format: "criteo" },
    options: { hotMemory: 1 << 20, batchSize: 128 },
  },
  avazu: {
    write: (path) =>
      generateDataset(path, { shape: "avazu", samples: 20_000, scale: 200, seed: 3, fractions: FRACTIONS }),
    raw: { format: "avazu" },
    options: { hotMemory: 300_000 },
  },
  "mlperf-dcnv2": {
    write: (path) =>
      generateDataset(path, { shape: "mlperf-dcnv2", samples: 20_000, scale: 5000, seed: 4, fractions: FRACTIONS }),
    raw: { format: "criteo" },
    options: { dim: 16, bottom: [64, 16], top: [64, 1], crossRank: 16, hotMemory: 1 << 20, batchSize: 128 },
  },
  taobao: { write: (path) => writeTaobaoLog(path, 20_000), raw: { format: "taobao" }, options: { hotMemory: 200_000 } },
};

for (const [preset, { write, raw, options }] of Object.entries(LOGS)) {
  Deno.test(`preset ${preset}, from a log to metrics, with hot and cold batches`, async () => {
    using folder = new TemporaryDirectory();
    const log = folder.join("log"), out = folder.join("run");
    await write(log);
    const config = resolveConfig(preset as Preset, { device: "cpu", ranks: 1 }, options);
    const result = await trainOn([log], raw, config, { out, report: silent });
    assert(result.hotSampleShare > 0.05 && result.hotSampleShare < 0.95, `${result.hotSampleShare} of samples are hot`);
    assert(result.auc > 0.55, `AUC ${result.auc}`);
    const evaluations = await evaluateRun(out, [], silent);
    assert.deepEqual(evaluations.map(({ split }) => split), ["validation", "test"]);
    assert.equal(evaluations[1].auc, result.auc);
  });
}
