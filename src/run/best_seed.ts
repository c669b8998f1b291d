/**
 * Trains with the best of several seeds, as TBSM was published: Adagrad sometimes makes no progress from its first steps
 * on, which a short part of an epoch shows.
 */
import { join } from "node:path";
import type { TrainConfig } from "../config/config.ts";
import type { ConfigByData } from "../config/config_by_data.ts";
import { MAX_SEED } from "../config/optimization_options.ts";
import type { Dataset } from "../dataset/dataset.ts";
import { HotsetError, UsageError } from "../errors.ts";
import type { CheckpointMetrics, ResultEvent } from "../events/events.ts";
import { count as number } from "../format.ts";
import { reasonIfDiverged } from "../loop/end_errors.ts";
import { expectDevice } from "../ranks/placement.ts";
import { AtomicDirectory } from "../storage/atomic_directory.ts";
import { configBefore, configFor, shapeOfData } from "./config_for.ts";
import { expectStart, lockRun, registerIn, startRun } from "./run.ts";
import { cacheOf } from "./run_cache.ts";
import { namingRun, type RunOptions } from "./run_options.ts";
import { ensureDataset, type RawOptions, withinMemory } from "./stages.ts";

/** Share of an epoch after which seeds are compared, as published. */
const SHARE = 0.05;

/**
 * Like `trainOn`, with the seed of `seeds` consecutive ones, the first of which the configuration has, whose monitored
 * metric of the validation split is the best after 5 % of an epoch; one that diverges is not. The run is the one that
 * `trainOn` trains with that seed. Throws UsageError without a validation split, and if the last seed is larger than a seed
 * may be, and HotsetError if all seeds diverge.
 */
export async function trainBestOf(
  seeds: number,
  inputs: readonly string[],
  raw: () => Promise<RawOptions>,
  given: TrainConfig | ConfigByData,
  options: Omit<RunOptions, "from" | "world">,
): Promise<ResultEvent> {
  const named = namingRun(options);
  const before = configBefore(given);
  if (before.seed + seeds - 1 > MAX_SEED) {
    throw new UsageError(`Cannot choose among ${seeds} seeds from ${before.seed} on: a seed is at most ${MAX_SEED}`);
  }
  expectStart(before, options.out, undefined);
  await expectDevice(before, named.report);
  // From here on, so that `clean` keeps the dataset while seeds are compared.
  using _lock = await lockRun(options);
  await registerIn(options);
  const cache = options.cache ?? cacheOf(options.out);
  const dataset = await ensureDataset(inputs, withinMemory(before, await raw()), cache, named.report);
  const config = configFor(given, shapeOfData(dataset, options), named.report);
  const seed = await bestSeed(seeds, dataset, config, named);
  return await startRun({ ...config, seed }, dataset, { ...options, claimed: true });
}

async function bestSeed(
  seeds: number,
  dataset: Dataset,
  config: TrainConfig,
  { out, report, signal }: RunOptions,
): Promise<number> {
  const samples = dataset.samples("train");
  if (dataset.samples("validation") === 0) {
    throw new UsageError(
      `Cannot choose a seed: dataset ${dataset.directory} has no validation split to compare them on`,
    );
  }
  let best = { seed: config.seed, value: -Infinity, shown: "" };
  let diverged = 0;
  for (let seed = config.seed; seed < config.seed + seeds; seed++) {
    // Not in the cache of the run: the order of samples depends on the seed, so each has a layout.
    using folder = new AtomicDirectory(out, () => {});
    let found: CheckpointMetrics | undefined;
    const short: TrainConfig = {
      ...config,
      ...{ seed, save: false, patience: null, targetAuc: null },
      testFreq: Math.max(1, Math.ceil(SHARE * samples / config.batchSize)),
    };
    const training = startRun(short, dataset, {
      out: join(folder.temporary, "run"),
      report: () => {},
      ...(signal === undefined ? {} : { signal }),
      onEvaluation(metrics) {
        found = metrics;
        return "stop";
      },
    });
    const reason = await reasonIfDiverged(training);
    if (reason !== undefined) {
      diverged++;
      report({ event: "note", text: `Seed ${seed}: diverged: ${reason}` });
      continue;
    }
    const { value, shown } = measured(found!, config.monitor);
    report({ event: "note", text: `Seed ${seed}: ${shown} after step ${number(found!.step)}` });
    if (value > best.value) best = { seed, value, shown };
  }
  if (diverged === seeds) {
    throw new HotsetError(
      `Cannot choose a seed: all ${seeds} diverged; choose a smaller --learning-rate, or --lr-num-warmup-steps`,
      { code: "diverged" },
    );
  }
  if (best.value === -Infinity) throw new UsageError(`Cannot choose a seed: no seed has a ${config.monitor}`);
  report({ event: "note", text: `Training with seed ${best.seed}, the best of ${seeds} (validation ${best.shown})` });
  return best.seed;
}

/** The monitored metric, larger if better, and its text. */
function measured({ auc, logloss, byGroup }: CheckpointMetrics, monitor: TrainConfig["monitor"]) {
  const value = { auc, logloss, gauc: byGroup?.gauc ?? NaN }[monitor];
  return { value: monitor === "logloss" ? -value : value, shown: `${monitor} ${value.toFixed(4)}` };
}
