/**
 * The demonstration: generated clicks, prepared like any log, trained in memory and again with most rows on disk, or in
 * mode cpu and in the chosen mode; the two runs are compared.
 */
import { join } from "node:path";
import { cacheName, isCached } from "../storage/artifact.ts";
import { Dataset } from "../dataset/dataset.ts";
import { writeCriteoLog } from "../dataset/generate.ts";
import type { TrainConfig } from "../config/config.ts";
import type { Report, ResultEvent } from "../events/events.ts";
import { Checkpoint } from "../checkpoint/checkpoint.ts";
import { LAST_CHECKPOINT } from "../checkpoint/checkpoint_store.ts";
import { firstDifference } from "./reproduce.ts";
import { expectStart, planFor, startRun } from "./run.ts";
import { cacheOf } from "./run_cache.ts";
import { inTurn, type RunOptions } from "./run_options.ts";
import { expectDevice } from "../ranks/placement.ts";
import { TemporaryDirectory } from "../storage/temporary.ts";
import { prepareTo, waiting } from "./stages.ts";
import { OutputLock } from "../storage/output_lock.ts";

/** Samples of the generated log, and the divisor of its tables: 26 tables with about 700,000 rows, 45 MB at dim 16. */
const SAMPLES = 300_000;
const SCALE = 3;
const FRACTIONS = { validation: 0.05, test: 0.1 };
/** About a tenth of the tables. */
const HOT_MEMORY = 12 * 2 ** 20;

/** Without warm-up all units of the bottom MLP's last layer die in the first steps of some runs. */
const WARM_UP = 100;

/** Configuration of the demonstration, unless options change it. */
export const DEMO_CONFIG: Partial<TrainConfig> = {
  warmupSteps: WARM_UP,
  batchSize: 512,
  hotMemory: HOT_MEMORY,
};

/** Configuration of the second run in mode cpu, if no other mode is chosen. */
const MEMORY = { share: 0.1 };

/**
 * Defaults of the demonstration under the user's options: mode cpu, unless they choose a device, or processes share the
 * work.
 */
export function demoConfig(flags: Partial<TrainConfig>, alone: boolean): Partial<TrainConfig> {
  const { device = "auto" } = flags;
  const onCpu = alone && (device === "auto" || device === "cpu");
  return { ...DEMO_CONFIG, mode: onCpu ? "cpu" : "fae" };
}

/** Result of the demonstration. */
export interface DemoResult {
  /** Result of mode cpu in memory, and of the run that it is compared with. */
  readonly results: readonly ResultEvent[];
  /** Whether the last checkpoints of training in memory and with rows on disk are equal; null if none were compared. */
  readonly equal: boolean | null;
  /** AUC of the model that generated the test labels: on average no model can exceed it. */
  readonly bestAuc: number;
}

/**
 * Configurations to compare: mode cpu in memory, whatever device the mode of `config` uses, and that mode; or mode cpu
 * in memory and with rows on disk, by one rank unless more are asked for.
 */
export function demoConfigs(config: TrainConfig): TrainConfig[] {
  if (config.mode === "cpu") {
    const ranks = config.ranks ?? 1;
    return [{ ...config, ranks, memory: null }, { ...config, ranks, memory: config.memory ?? MEMORY }];
  }
  return [{ ...config, mode: "cpu", device: "cpu", precision: "fp32", activations: "ptx" }, config];
}

/** Runs the demonstration in `options.out`. The event "demo" is the last one that it reports. */
export async function runDemo(config: TrainConfig, options: RunOptions): Promise<DemoResult> {
  const { out, report } = options;
  const configs = demoConfigs(config);
  const directoryOf = ({ mode, memory }: TrainConfig) => join(out, memory === null ? mode : "disk");
  const dataset = await inTurn(options, async () => {
    for (const each of configs) expectStart(each, directoryOf(each), options.world);
    if (options.world === undefined) await expectDevice(config, report);
    const text = `Generated data: ${SAMPLES} clicks in the shape of Criteo's, labelled by a random model`;
    report({ event: "note", text });
    return await demoDataset(config.seed, options.cache ?? cacheOf(out), report);
  });
  const results: ResultEvent[] = [];
  for (const each of configs) {
    results.push(await startRun(each, dataset, { ...options, out: directoryOf(each), claimed: false }));
  }
  const bestAuc = dataset.body.generated!.bestAuc.test;
  const [inMemory, onDisk] = configs;
  let equal: boolean | null = null;
  if (config.save && onDisk !== undefined && onDisk.memory !== null) {
    const [one, other] = [lastOf(directoryOf(inMemory)), lastOf(directoryOf(onDisk))];
    equal = await firstDifference(one, other, planFor(config, dataset), dataset) === null;
  }
  report({ event: "demo", bestAuc, equal });
  return { results, bestAuc, equal };
}

function lastOf(run: string): Checkpoint {
  return Checkpoint.open(join(run, LAST_CHECKPOINT));
}

/** The demonstration's dataset for a seed, generated and prepared in a directory of `cache` unless it exists. */
export async function demoDataset(seed: number, cache: string, report: Report): Promise<Dataset> {
  const generation = { seed, samples: SAMPLES, scale: SCALE, fractions: FRACTIONS };
  const out = join(cache, "datasets", `demo-${cacheName("dataset", generation)}`);
  if (isCached("dataset", out)) return Dataset.open(out);
  using _lock = await OutputLock.wait(`${out}.clicks`, `write dataset ${out}`, waiting(report, "dataset"));
  if (isCached("dataset", out)) return Dataset.open(out);
  Deno.mkdirSync(cache, { recursive: true });
  using folder = TemporaryDirectory.beside(join(cache, "clicks"));
  const log = folder.join("clicks.tsv");
  const bestAuc = await writeCriteoLog(log, {
    ...generation,
    onProgress: (fraction) => report({ event: "stage", stage: "generate", fraction }),
  });
  return await prepareTo({
    inputs: [log],
    format: "criteo",
    out,
    validationFraction: FRACTIONS.validation,
    testFraction: FRACTIONS.test,
    generated: { bestAuc },
  }, report);
}
