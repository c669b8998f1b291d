/** Decides where a run computes and keeps its rows, if its configuration leaves that open. */
import { canTrain, type TrainConfig } from "../config/config.ts";
import type { Dataset } from "../dataset/dataset.ts";
import type { Report } from "../events/events.ts";
import { bytes } from "../format.ts";
import { averageBatch } from "../layout/batch.ts";
import type { ModelPlan } from "../model/shape.ts";
import type { MpiWorld } from "../parallel/mpi_world.ts";
import { countMemory } from "../ranks/count_memory.ts";
import { deviceRoom, expectPlacement } from "../ranks/placement.ts";
import { tableBytes } from "../ranks/tier.ts";

/** Share of the free memory of a device that a run may plan to use. */
const ROOM_SHARE = 0.9;

/**
 * Replaces mode `auto` by the fastest mode for which there is memory, and reports which and why: on GPUs `gpu` if
 * everything fits in the memory of each, otherwise `cached`; without GPUs `cpu`. Over MPI `fae` on GPUs and on several
 * hosts, which exchange fewer rows then. `cached` and `cpu` store on disk the rows that do not fit in memory. Throws
 * HotsetError if a GPU that was asked for does not exist.
 */
export async function chooseMode(
  config: TrainConfig,
  plan: ModelPlan,
  dataset: Dataset,
  report: Report,
  world?: MpiWorld,
): Promise<TrainConfig> {
  if (config.mode !== "auto") return config;
  let chosen: TrainConfig;
  if (world !== undefined) {
    const onDevices = config.device === "cuda" || config.device === "emulated";
    const replicates = config.memory === null && (onDevices || world.peers.size > 1) && mayReplicate(config, dataset);
    chosen = { ...config, mode: replicates ? "fae" : onDevices ? "gpu" : "cpu" };
  } else {
    const room = config.memory === null ? await deviceRoom(config, report) : undefined;
    chosen = modeFor(config, plan, dataset, room, report);
  }
  expectPlacement(chosen, world);
  return chosen;
}

/** Mode fae needs rows, and decides the order of batches. */
function mayReplicate({ shuffle }: TrainConfig, { tables }: Dataset): boolean {
  return shuffle !== "none" && canTrain("fae", tables);
}

/** The same for one process and the free bytes of each device, undefined without devices. */
export function modeFor(
  config: TrainConfig,
  plan: ModelPlan,
  dataset: Dataset,
  device: number | undefined,
  report: Report,
): TrainConfig {
  if (device === undefined) return { ...config, mode: "cpu" };
  const room = ROOM_SHARE * device;
  const ranks = config.ranks ?? 1;
  const { samples, lookups } = dataset.body.splits.train;
  const batchShape = averageBatch({
    batchSize: config.batchSize,
    denseFeatures: dataset.denseFeatures,
    tables: dataset.bagsOfSample,
    bags: dataset.body.bags,
    weightedLookups: dataset.weightedLookups,
    lookups: samples === 0 ? dataset.bagsOfSample : lookups / samples,
  });
  const onDevice = (where: { tablesOnDevice: boolean } | { cache: { slots: number; batchRows: number } }) =>
    countMemory({ plan, batchShape, ranks, onDevice: true, ...where }).device.values()
      .reduce((sum, bytes) => sum + bytes, 0);
  const all = onDevice({ tablesOnDevice: true });
  const choose = (mode: TrainConfig["mode"], why: string, changes: Partial<TrainConfig> = {}): TrainConfig => {
    report({ event: "note", text: `Training in mode ${mode}: ${why}` });
    return { ...config, ...changes, mode };
  };
  const free = `of the ${bytes(device)} of GPU memory that are free`;
  if (all <= room || !canTrain("cached", dataset.tables)) {
    return choose("gpu", `the model and its batches take ${bytes(all)} ${free}`);
  }
  const tooMuch = `the model would take ${bytes(all)} ${free}`;
  const batchRows = batchShape.lookupCapacity;
  const least = 2 * batchRows * tableBytes(plan) / plan.rows;
  const besides = onDevice({ cache: { slots: 2 * batchRows, batchRows } }) - least;
  const hotMemory = Math.floor(room - besides);
  if (hotMemory < least) {
    return choose("cpu", `${tooMuch}, which have no room for the rows of two batches either`, { device: "cpu" });
  }
  const who = ranks > 1 ? "so each GPU caches the same rows" : "which caches rows";
  return choose("cached", `${tooMuch}, ${who} in ${bytes(hotMemory)}`, { hotMemory });
}
