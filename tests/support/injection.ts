/** Runs in which a non-finite value is written to a chosen part of the model, on any device. */
import assert from "node:assert/strict";
import type { Backend, Buffer } from "../../src/backend/backend.ts";
import { cpuOptions, type DeviceOptions, openDevice, openHost } from "../../src/backend/open.ts";
import type { Blas, HostOptions } from "../../src/backend/open.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { isDirectory } from "../../src/storage/artifact.ts";
import { codeOf, messageOf } from "../../src/errors.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { LocalRank, type RankGroup } from "../../src/ranks/rank_group.ts";
import { allocateTrainState, type TrainState } from "../../src/ranks/train_state.ts";
import { Command } from "../../src/ranks/rank.ts";
import { WorkerRanks } from "../../src/ranks/worker_ranks.ts";
import { planFor } from "../../src/run/run.ts";
import { ensureLayout, ensureProfile } from "../../src/run/stages.ts";
import { Trainer } from "../../src/loop/trainer.ts";
import { localModel } from "./local_model.ts";
import type { TemporaryDirectory } from "./temporary.ts";
import { firstWordOf } from "./local_model.ts";
import { type PlainSplit, writeDataset } from "./tiny_dataset.ts";

const BATCH = 16;
const SAMPLES = 93;
/** Step of the second epoch that reads the value; a good checkpoint was started before the first step. */
const STEP = 3;
const USED_ROWS = 90;
/** Looked up once, so not hot: full tables may have stale values of hot rows. */
const USED_ROW = 86;
/** No sample looks this row up. */
const UNUSED_ROW = 95;

/** Where a run computes. */
export interface Way {
  readonly mode: TrainConfig["mode"];
  readonly host?: Blas | "reference";
  readonly device?: DeviceOptions["activations"];
  readonly ranks?: number;
}

/** A word in the memory of a run. */
export interface Target {
  readonly backend: Backend;
  readonly buffer: Buffer;
  readonly word: number;
}

/** All vectors of a model that training changes, by name; undefined if a run does not have it. */
export const TARGETS: Record<string, (memory: TrainState) => Target | undefined> = {
  ...Object.fromEntries(
    [["bottom", "bot"], ["top", "top"]].flatMap(([mlp, prefix]) =>
      [0, 1].flatMap((i) =>
        (["weight", "bias"] as const).map((what) => [
          `a ${what} of layer ${i + 1} of the ${mlp} MLP`,
          ({ device, parameters, plan }: TrainState) => ({
            backend: device,
            buffer: parameters,
            word: firstWordOf(plan, `${prefix}_l.${2 * i}.${what}`),
          }),
        ])
      )
    ),
  ),
  "dense optimizer state": ({ device, denseState }) => present(device, denseState, 1),
  "a used row": ({ full, plan }) => present(full.backend, full.weights, USED_ROW * plan.shape.dim + 1),
  "an unused row": ({ full, plan }) => present(full.backend, full.weights, UNUSED_ROW * plan.shape.dim),
  "the state of an unused row": ({ full, plan }) => present(full.backend, full.state, UNUSED_ROW * plan.shape.dim),
  "a hot row": ({ hot }) => present(hot?.backend, hot?.weights, 0),
  "the state of a hot row": ({ hot }) => present(hot?.backend, hot?.state, 1),
};

function present(backend: Backend | undefined, buffer: Buffer | undefined, word: number): Target | undefined {
  return backend === undefined || buffer === undefined ? undefined : { backend, buffer, word };
}

/** A dataset whose samples do not use all rows, optionally with a test split. */
export function dataOf(directory: TemporaryDirectory, test?: PlainSplit): Dataset {
  const split = (samples: number, seed: number) => ({
    labels: Uint8Array.from({ length: samples }, (_, i) => (i * seed) % 3 === 0 ? 1 : 0),
    dense: Float32Array.from({ length: 2 * samples }, (_, i) => (i * seed) % 5 / 4),
    // Half of the batches look up only the first rows, which are hot.
    ids: Uint32Array.from(
      { length: 2 * samples },
      (_, i) => i % 2 === 1 ? i % 4 : i % 4 === 0 ? i % 10 : i % USED_ROWS,
    ),
  });
  return writeDataset(directory.join("data"), {
    tableRows: [100, 4],
    denseFeatures: 2,
    splits: { train: split(SAMPLES, 7), validation: split(20, 11), ...(test && { test }) },
  });
}

async function open(way: Way, config: TrainConfig, dataset: Dataset, layout: Awaited<ReturnType<typeof ensureLayout>>) {
  const { host: kind = "wasm", ranks = 1, mode, device: activations } = way;
  const options: HostOptions = kind === "reference" ? { kind } : await cpuOptions(kind);
  const host = await openHost(options);
  const { hotRows } = layout;
  const shared = { plan: planFor(config, dataset), batchShape: layout.shape, hotRows, ranks, host };
  if (activations === undefined) {
    const memory = allocateTrainState({ ...shared, device: host });
    return ranks === 1 ? new LocalRank(memory) : await WorkerRanks.start(memory, options);
  }
  const deviceOptions: DeviceOptions = { device: "emulated", precision: "fp32", activations };
  if (ranks > 1) {
    const tablesOnDevice = mode === "gpu";
    const memory = allocateTrainState({ ...shared, device: undefined, tablesOnDevice });
    return await WorkerRanks.start(memory, options, { options: deviceOptions, hotRows, tablesOnDevice });
  }
  const device = await openDevice(deviceOptions);
  return new LocalRank(allocateTrainState({ ...shared, device, tablesOnDevice: mode === "gpu" }));
}

/**
 * Trains for two epochs and writes `value` to the target in the second. The run must end as diverged and keep the
 * checkpoint of the first epoch unchanged. Returns the message; undefined if this configuration has no such target.
 */
export async function runWith(
  directory: TemporaryDirectory,
  dataset: Dataset,
  way: Way,
  target: keyof typeof TARGETS,
  value: number,
): Promise<string | undefined> {
  const config = resolveConfig("kaggle", {
    ...{ mode: way.mode, optimizer: "adagrad", learningRate: 0.01, dim: 4, bottom: [6, 4], top: [5, 1], epochs: 2 },
    ...{ batchSize: BATCH, ranks: 1, printFreq: 4 },
    ...(way.mode === "fae" ? { hotMemory: 14 * 4 * 8 } : {}),
  });
  const quiet = () => {};
  const place = { cache: directory.path };
  const profile = way.mode === "fae" ? await ensureProfile(dataset, config, place, quiet) : undefined;
  using layout = await ensureLayout(dataset, profile, { batchSize: BATCH, shuffle: "batches", seed: 1 }, place, quiet);
  await using group = await open(way, config, dataset, layout);
  const out = directory.join(`run-${crypto.randomUUID()}`);
  const found = TARGETS[target](group.memory);
  if (found === undefined) return undefined;
  const steps = layout.batches("hot") + layout.batches("cold");
  const good = inject(group, found, value, steps + STEP, `${out}/last`);
  const trainer = new Trainer({
    ...{ config, dataset, layout, group, out, runId: "test", checkpoint: undefined, report: quiet },
    signal: new AbortController().signal,
  });
  let message = "";
  const what = `${value} in ${target}, ${JSON.stringify(way)}`;
  await assert.rejects(trainer.run(), (error) => {
    assert.equal(codeOf(error), "diverged", `${what}: ${error}`);
    message = messageOf(error);
    return true;
  });
  assert.match(
    message,
    /^Cannot continue training: [^\n]*; the last good checkpoint is [^\n]*\/last; start again/,
    what,
  );
  const checkpoint = Checkpoint.open(`${out}/last`);
  assert.equal(checkpoint.id, good.id, what);
  assert.equal(checkpoint.body.state.step, steps, what);
  const fresh = localModel(await openHost({ kind: "reference" }), checkpoint.body.model, layout.shape);
  await checkpoint.load(fresh.memory, checkpoint.body.model); // throws if a word is not finite
  const names = [...Deno.readDirSync(out)].map(({ name }) => name).sort();
  assert.deepEqual(names, ["best", "last"], `${what}: nothing is left behind`);
  return message;
}

/** Writes the value before a step of the second epoch, after the checkpoint of the first is complete. */
function inject(group: RankGroup, { backend, buffer, word }: Target, value: number, atStep: number, last: string) {
  const good = { id: "" };
  const train = group.train.bind(group);
  let step = 0;
  group.train = (slot) => {
    if (++step === atStep) {
      group.drain();
      const sleep = new Int32Array(new SharedArrayBuffer(4));
      while (!isDirectory(last)) Atomics.wait(sleep, 0, 0, 2);
      good.id = Checkpoint.open(last).id;
      // Device memory that ranks do not share is accessible only through its mirror.
      group.updateMirror();
      backend.upload(Float32Array.of(value), backend.view(buffer, word, 1));
      group.post(Command.fromMirror, 0, 0);
    }
    train(slot);
  };
  return good;
}
