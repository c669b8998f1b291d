/** Decides what computes a run and where its rows lie. */
import { cpuOptions, openDevice, openHost } from "../backend/open.ts";
import type { Backend } from "../backend/backend.ts";
import type { Cluster } from "../collective/cluster.ts";
import type { BatchShape } from "../layout/batch.ts";
import type { ModelPlan } from "../model/shape.ts";
import { HotsetError, UsageError } from "../errors.ts";
import type { TrainConfig } from "./config.ts";
import type { Report } from "./events.ts";
import { allocateRunMemory, LocalRank, type RankGroup } from "./rank_group.ts";
import { MpiRanks } from "./mpi_ranks.ts";
import { WorkerRanks } from "./worker_ranks.ts";

/** The part of a configuration that decides where a run computes. */
export type PlacementConfig = Pick<TrainConfig, "mode" | "device" | "ranks" | "precision" | "activations">;

/** Throws UsageError if the mode and the device contradict each other. Cheap: to be asked before any stage runs. */
export function expectPlacement({ mode, device }: Pick<TrainConfig, "mode" | "device">, cluster?: Cluster): void {
  if (cluster !== undefined && (device === "cuda" || device === "emulated" || mode === "gpu" || mode === "hybrid")) {
    throw new UsageError(`Cannot train in mode ${mode} on ${device} over MPI: ranks over MPI compute on the CPU`);
  }
  if (device === "cpu" && (mode === "gpu" || mode === "hybrid")) {
    throw new UsageError(`Cannot train in mode ${mode} on the CPU: choose --mode fae or cpu`);
  }
  if (mode === "cpu" && (device === "cuda" || device === "emulated")) {
    throw new UsageError(`Cannot train in mode cpu on ${device}: choose --mode fae, hybrid or gpu`);
  }
}

/** Opens and closes the GPU if the configuration cannot do without one: to be asked before stages that take long. */
export async function expectDevice(config: PlacementConfig): Promise<void> {
  const { mode, device, precision, activations } = config;
  if (device === "cuda" || (device === "auto" && (mode === "gpu" || mode === "hybrid"))) {
    using _device = await openDevice({ device: "cuda", precision, activations });
  }
}

/**
 * Opens the backends of a run, allocates its memory and starts its ranks. With device auto a GPU computes if there is
 * one; else the CPU does, and why is reported. In a cluster the CPU computes. Throws HotsetError if the mode needs a device that is not there.
 */
export async function openRanks(
  config: PlacementConfig,
  plan: ModelPlan,
  batchShape: BatchShape,
  hotRows: number,
  report: Report,
  cluster?: Cluster,
): Promise<RankGroup> {
  expectPlacement(config, cluster);
  if (cluster !== undefined) return await MpiRanks.open(cluster, plan, batchShape, hotRows, report);
  const hostOptions = await cpuOptions("auto");
  const host = await openHost(hostOptions);
  const device = await findDevice(config, report) ?? host;
  const onHost = device === host as Backend;
  const ranks = onHost ? Math.min(config.ranks ?? navigator.hardwareConcurrency, batchShape.batchSize) : 1;
  const tables: Backend = config.mode === "gpu" ? device : host;
  const memory = allocateRunMemory({ plan, batchShape, hotRows, ranks, device, host, tables });
  report({ event: "note", text: `Training on ${device.name} with ${ranks} rank${ranks === 1 ? "" : "s"}` });
  return ranks === 1 ? new LocalRank(memory) : await WorkerRanks.start(memory, hostOptions);
}

/** The device that the configuration asks for; undefined if the CPU is to compute. */
async function findDevice(config: PlacementConfig, report: Report): Promise<Backend | undefined> {
  const { mode, device, precision, activations } = config;
  if (mode === "cpu" || device === "cpu") return undefined;
  if (device !== "auto") return await openDevice({ device, precision, activations });
  try {
    return await openDevice({ device: "cuda", precision, activations });
  } catch (error) {
    if (mode !== "fae" || !(error instanceof HotsetError)) throw error;
    report({ event: "note", text: `No GPU, so the CPU computes: ${error.message.split("\n")[0]}` });
    return undefined;
  }
}
