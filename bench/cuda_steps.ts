/**
 * Times of whole training steps of the kaggle model on a GPU and on the CPU, by mode, batch size, precision and
 * activation library. Each step is timed three ways, to show its bottleneck: on the device alone (its graph, replayed),
 * with the batch in host memory (copied, then computed), and read from the layout as in training. Mode `cached`, which
 * reads ahead, is timed in the last way only.
 *
 *     deno run -A bench/cuda_steps.ts [--batch-sizes 128,2048,65536] [--device emulated] [--folder DIR] [--json]
 *
 * The data is generated once: Criteo's popularity, tables divided by `--scale`. `--peer-batches DIR` also writes the
 * batches for bench/peers/dlrm_pytorch_cuda.py.
 */
import { atOnce } from "../src/breaks.ts";
import { writeStep } from "../src/optimizer/optimizers.ts";
import { parseArgs } from "node:util";
import { join } from "node:path";
import { Dataset } from "../src/dataset/dataset.ts";
import { generateDataset } from "../src/dataset/generate.ts";
import { isArtifact } from "../src/storage/artifact.ts";
import { CudaBackend } from "../src/backend/cuda/backend.ts";
import { ONE_RANK } from "../src/parallel/host_group.ts";
import { batchSections } from "../src/layout/batch.ts";
import { BATCH_KINDS, type BatchKind, type Layout } from "../src/layout/layout.ts";
import { ReadAhead, readThreads } from "../src/layout/read_ahead.ts";
import { openTables } from "../src/embedding/open.ts";
import { Model } from "../src/model/model.ts";
import { initialiseDense } from "../src/model/initialise.ts";
import { resolveConfig, type TrainConfig } from "../src/config/config.ts";
import { openRanks } from "../src/ranks/placement.ts";
import type { RankGroup } from "../src/ranks/rank_group.ts";
import { planFor } from "../src/run/run.ts";
import type { Report } from "../src/events/events.ts";
import { ensureLayout, ensureProfile } from "../src/run/stages.ts";
import { DeviceClock } from "./device_clock.ts";
import { coldBatches, writePeerBatches } from "./peers/peer_batches.ts";

/** Sizes that are timed. */
export interface StepSizes {
  readonly samples: number;
  readonly scale: number;
  readonly batchSizes: readonly number[];
  /** Duration of a measurement. */
  readonly milliseconds: number;
  readonly model: Partial<TrainConfig>;
}

/** A way to train, and the times of a step. */
export interface StepTiming {
  readonly mode: TrainConfig["mode"];
  readonly kind: BatchKind;
  readonly precision: TrainConfig["precision"];
  readonly activations: TrainConfig["activations"];
  readonly optimizer: TrainConfig["optimizer"];
  readonly batchSize: number;
  /** Milliseconds of a step on the device alone; null if the host computes a part of it. */
  readonly deviceMs: number | null;
  /** With the batch in host memory; null in mode cached, which replaces the rows of a batch by their positions. */
  readonly stepMs: number | null;
  /** With the batch read from the layout. */
  readonly readMs: number;
  /** Samples per second according to `readMs`. */
  readonly samplesPerSecond: number;
  /** Null without a device on this thread, which mode cached does not have either. */
  readonly launches: number | null;
  readonly bytesToDevice: number;
  readonly bytesToHost: number;
  /** What the run tells when it begins: the device with its libraries, the share of rows that it caches. */
  readonly notes: readonly string[];
}

/** Several batches of 65,536, cold and hot; tables larger than a GPU's cache. */
export const KAGGLE_STEPS: Omit<StepSizes, "batchSizes"> = {
  samples: 10 * 65_536,
  scale: 10,
  milliseconds: 400,
  model: { hotMemory: 24 * 2 ** 20 },
};

/** The same, small enough for the emulated device. */
export const TINY_STEPS: Omit<StepSizes, "batchSizes"> = {
  samples: 300,
  scale: 5000,
  milliseconds: 0,
  model: { dim: 8, bottom: [16, 8], top: [16, 1], hotMemory: 700_000 },
};

/** All ways to train; mode gpu has the most variants. */
const WAYS: readonly Partial<TrainConfig>[] = [
  { mode: "gpu" },
  { mode: "gpu", precision: "tf32" },
  { mode: "gpu", precision: "bf16" },
  { mode: "gpu", activations: "ptx" },
  { mode: "gpu", activations: "ptx", precision: "tf32" },
  { mode: "gpu", activations: "cudnn" },
  { mode: "gpu", optimizer: "adagrad" },
  { mode: "fae" },
  { mode: "hybrid" },
  { mode: "cached" },
  { mode: "cached", hotMemory: 52 * 2 ** 20 },
  { mode: "cached", hotMemory: 48 * 2 ** 20, optimizer: "adagrad" },
  { mode: "cpu", device: "cpu" },
];

const quiet = () => {};

/** The dataset of these sizes in a folder, generated if it does not exist. */
export async function stepDataset(
  folder: string,
  { samples, scale }: Pick<StepSizes, "samples" | "scale">,
): Promise<Dataset> {
  const out = join(folder, `clicks-${samples}-${scale}`);
  if (isArtifact(out)) return Dataset.open(out);
  Deno.mkdirSync(folder, { recursive: true });
  return await generateDataset(out, { samples, seed: 1, scale, fractions: { validation: 0, test: 0.01 } });
}

/** Times all ways at all batch sizes. A way that fails is reported and skipped. */
export async function* measureSteps(
  device: "cuda" | "emulated",
  dataset: Dataset,
  cache: string,
  sizes: StepSizes,
): AsyncGenerator<StepTiming | { readonly failed: string }> {
  for (const batchSize of sizes.batchSizes) {
    for (const way of WAYS) {
      const config = resolveConfig(
        "kaggle",
        sizes.model,
        { optimizer: "sgd", device, batchSize, learningRate: 0.01 },
        way,
      );
      try {
        yield* await measureWay(config, dataset, cache, sizes.milliseconds);
      } catch (error) {
        yield { failed: `batch ${batchSize}, ${JSON.stringify(way)}: ${error}` };
      }
    }
  }
}

/** The layout of a configuration. */
export async function stepLayout(config: TrainConfig, dataset: Dataset, cache: string): Promise<Layout> {
  const profile = config.mode === "fae" ? await ensureProfile(dataset, config, { cache }, quiet) : undefined;
  return await ensureLayout(dataset, profile, config, { cache }, quiet);
}

/** The ranks of a configuration, with an initial model. */
export async function openStepRanks(
  config: TrainConfig,
  dataset: Dataset,
  layout: Layout,
  report: Report = quiet,
): Promise<RankGroup> {
  const plan = planFor(config, dataset);
  const placement = {
    batchShape: layout.shape,
    hotRows: layout.hotRows,
    mostDistinct: layout.body.mostDistinct,
  };
  const group = await openRanks(config, plan, placement, { report });
  const parameters = new Float32Array(plan.denseWords);
  initialiseDense(plan, config.seed, parameters);
  await group.initialise(parameters, config.seed);
  atOnce(group.tables.refresh());
  return group;
}

async function measureWay(config: TrainConfig, dataset: Dataset, cache: string, milliseconds: number) {
  using layout = await stepLayout(config, dataset, cache);
  const notes: string[] = [];
  const report: Report = (event) => void (event.event === "note" && notes.push(event.text));
  await using group = await openStepRanks(config, dataset, layout, report);
  const { mode, precision, activations, optimizer, batchSize } = config;
  // The last batch of a kind may be incomplete.
  return BATCH_KINDS.filter((kind) => layout.batches(kind) > 1).map((kind): StepTiming => {
    const read = (step: number) => {
      const slot = group.acquire();
      layout.readBatch(kind, step % (layout.batches(kind) - 1), group.batches[slot]);
      writeStep(config.optimizer, group.batches[slot].floats, config.learningRate);
      group.train(slot);
    };
    for (let step = 0; step < 2 * group.batches.length; step++) read(step); // records each slot's graph
    group.drain();
    const before = group.takeCounts();
    read(0);
    const after = group.takeCounts();
    const inMemory = () => perStep(group, milliseconds, () => group.train(group.acquire()));
    const stepMs = mode === "cached" ? null : inMemory();
    const readMs = readAhead(group, layout, config, kind, milliseconds);
    return {
      ...{ mode, kind, precision, activations, optimizer, batchSize },
      deviceMs: deviceMs(group, kind, milliseconds),
      ...{ stepMs, readMs, samplesPerSecond: 1000 * batchSize / readMs },
      launches: launchesOf(group, () => read(0)),
      bytesToDevice: after.bytesToDevice - before.bytesToDevice,
      bytesToHost: after.bytesToHost - before.bytesToHost,
      notes,
    };
  });
}

/** Milliseconds of a step over batches that are read as in training; the last may be incomplete. */
function readAhead(
  group: RankGroup,
  layout: Layout,
  config: TrainConfig,
  kind: BatchKind,
  milliseconds: number,
): number {
  using reading = new ReadAhead(layout, group.batches, readThreads(layout, group.freeCores));
  let asked = 0;
  const step = () => {
    while (reading.waiting < reading.depth) {
      reading.ask(group.acquire(), kind, asked++ % (layout.batches(kind) - 1));
    }
    const slot = reading.take();
    writeStep(config.optimizer, group.batches[slot].floats, config.learningRate);
    group.train(slot);
  };
  perStep(group, milliseconds, step); // threads start
  const ms = perStep(group, milliseconds, step);
  while (reading.waiting > 0) reading.take(); // a slot must not be written while it is used again
  return ms;
}

/** Milliseconds per step, from as many steps as fit into a measurement. */
function perStep(group: RankGroup, milliseconds: number, step: (index: number) => void): number {
  const begin = performance.now();
  let steps = 0;
  do step(steps++); while (performance.now() - begin < milliseconds);
  group.drain();
  return (performance.now() - begin) / steps;
}

/** Milliseconds on the device of a step over the batch in the first slot; null if its rows are on the host. */
function deviceMs({ memory, batches }: RankGroup, kind: BatchKind, milliseconds: number): number | null {
  const { device, plan, batchShape } = memory;
  const store = kind === "hot" ? memory.hot! : memory.full;
  if (!(device instanceof CudaBackend) || store.backend !== device) return null;
  const lossSum = device.allocate(1, "sum of losses");
  const model = new Model(
    plan,
    batchShape,
    { ...memory, lossSum },
    ONE_RANK,
    (context) => openTables(context, memory),
  );
  const deviceBlock = device.allocate(batchSections(batchShape).capacity, "batch");
  const input = model.input({ batch: batches[0], hostBlock: memory.slots[0], deviceBlock });
  model.load(input, true);
  const step = () => model.train(input, batchShape.batchSize);
  step(); // records the graph
  return new DeviceClock(device).perCall(milliseconds / 4, step) / 1000;
}

/** Launches of the device of this thread during some work, null without one; a replayed graph counts as one. */
function launchesOf(group: RankGroup, work: () => void): number | null {
  const { counters } = group.memory.device;
  if (counters === undefined) return null;
  const launched = () => counters.launches + counters.graphLaunches;
  const before = launched();
  work();
  group.drain();
  return launched() - before;
}

/** Text of a result. */
export function stepText(timing: StepTiming): string {
  const { mode, kind, precision, activations, optimizer, batchSize, deviceMs, stepMs, readMs } = timing;
  const way = `${batchSize} ${mode} ${kind} ${precision} ${activations} ${optimizer}`.padEnd(40);
  const ms = [deviceMs, stepMs, readMs].map((value) => (value?.toFixed(3) ?? "").padStart(10));
  return `${way} ${ms.join(" ")} ms ${timing.samplesPerSecond.toFixed(0).padStart(10)} samples/s`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      device: { type: "string", default: "cuda" },
      "batch-sizes": { type: "string", default: "128,2048,65536" },
      scale: { type: "string" },
      folder: { type: "string", default: join("hotset", "bench") },
      "peer-batches": { type: "string" },
      tiny: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
  });
  const device = values.device === "emulated" ? "emulated" : "cuda";
  const batchSizes = values["batch-sizes"].split(",").map(Number);
  const shapes = values.tiny || device === "emulated" ? TINY_STEPS : KAGGLE_STEPS;
  const sizes: StepSizes = { ...shapes, batchSizes, scale: Number(values.scale ?? shapes.scale) };
  const dataset = await stepDataset(values.folder, sizes);
  const peers = values["peer-batches"];
  if (peers !== undefined) {
    for (const batchSize of batchSizes) {
      using layout = await stepLayout(
        resolveConfig("kaggle", sizes.model, { mode: "cpu", batchSize }),
        dataset,
        values.folder,
      );
      writePeerBatches(coldBatches(layout), dataset, join(peers, `${batchSize}`), MAX_PEER_BATCHES);
    }
  }
  console.log(
    values.json ? "" : `${"".padEnd(40)} ${["device", "in memory", "read"].map((h) => h.padStart(10)).join(" ")}`,
  );
  for await (const timing of measureSteps(device, dataset, values.folder, sizes)) {
    if (values.json) console.log(JSON.stringify({ event: "step", ...timing }));
    else console.log("failed" in timing ? timing.failed : stepText(timing));
  }
}

/** The peer repeats them. */
const MAX_PEER_BATCHES = 32;

if (import.meta.main) await main();
