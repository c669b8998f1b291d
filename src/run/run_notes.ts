/** Notes of a run to the user: about its data before it trains, about moved rows after it. */
import type { TrainConfig } from "../config/config.ts";
import type { Dataset } from "../dataset/dataset.ts";
import type { CacheCounts } from "../embedding/cached.ts";
import type { MovedRows } from "../events/events.ts";
import { bytes, count, percent } from "../format.ts";
import type { Layout } from "../layout/layout.ts";
import type { MpiWorld } from "../parallel/mpi_world.ts";
import { DeviceCachedRanks } from "../ranks/device_cached_ranks.ts";
import type { RankGroup } from "../ranks/rank_group.ts";
import { labelNotes } from "./label_notes.ts";
import { leakNotes } from "./leak_notes.ts";

/** Sentences about data that limit the model or its metrics. Reads samples. */
export async function dataNotes(config: TrainConfig, dataset: Dataset, layout: Layout): Promise<string[]> {
  return [
    ...partNotes(dataset),
    ...await labelNotes(dataset, config.monitor),
    ...await leakNotes(dataset),
    ...turnNotes(config, layout),
  ];
}

/** Reports that a part of the model is missing. */
function partNotes({ denseFeatures, tables }: Dataset): string[] {
  if (tables === 0) {
    return ["The data has no sparse features, so the model is an MLP: the bottom one, then the top one"];
  }
  return denseFeatures > 0 ? [] : ["The data has no dense features, so the model has no bottom MLP"];
}

/** If there are batches of one kind only, options about turns of the two kinds have no effect. */
function turnNotes({ mode }: TrainConfig, layout: Layout): string[] {
  const kinds = (["hot", "cold"] as const).filter((kind) => layout.batches(kind) > 0);
  if (mode !== "fae" || kinds.length !== 1) return [];
  return [
    `All batches are ${kinds[0]}, so there are no turns: --first-turn, --scheduler-rate and --turns have no effect`,
  ];
}

/** Sentences about rows that a run moved between hosts, the host and its device, or memory and disk. */
export function movedNotes(group: RankGroup, world: MpiWorld | undefined): string[] {
  return [
    ...(world !== undefined && world.peers.size > 1 ? [`Hosts sent each other ${bytes(world.bytesSent())}`] : []),
    ...(group instanceof DeviceCachedRanks ? [cachedText(group.cached)] : []),
    ...(group.moved === undefined ? [] : [movedText(group.moved)]),
  ];
}

/** Rows moved between the memory of the host and that of the device in a run. */
function cachedText({ rows, fetched, written }: CacheCounts): string {
  const share = (some: number) => percent(some / Math.max(1, rows));
  return `Of ${count(rows)} distinct rows of batches, ${share(fetched)} were copied to the device and ${
    share(written)
  } back`;
}

/** Rows and bytes moved between memory and disk in a run. */
function movedText(moved: MovedRows): string {
  const { rows, fetched, computed, read, written, bytesRead, bytesWritten, diskBytes, waitSeconds } = moved;
  return `Rows of batches: ${percent(1 - fetched / Math.max(1, rows))} were in memory; ` +
    `${count(computed)} were computed, ${count(read)} read (${bytes(bytesRead)}), ` +
    `${count(written)} written (${bytes(bytesWritten)}; ${bytes(diskBytes)} on the disk at the end); ` +
    `training waited ${waitSeconds.toFixed(1)} s for rows`;
}
