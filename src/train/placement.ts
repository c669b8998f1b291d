/** Decides what computes a run and where its rows lie. */
import { cpuOptions, openHost } from "../backend/open.ts";
import type { Backend } from "../backend/backend.ts";
import type { BatchShape } from "../layout/batch.ts";
import type { ModelPlan } from "../model/shape.ts";
import { UsageError } from "../errors.ts";
import type { TrainConfig } from "./config.ts";
import type { Report } from "./events.ts";
import { allocateRunMemory, LocalRank, type RankGroup } from "./rank_group.ts";
import { WorkerRanks } from "./worker_ranks.ts";

/** Opens the backends of a run, allocates its memory and starts its ranks. */
export async function openRanks(
  config: Pick<TrainConfig, "mode" | "device" | "ranks">,
  plan: ModelPlan,
  batchShape: BatchShape,
  hotRows: number,
  report: Report,
): Promise<RankGroup> {
  const { mode, device } = config;
  if (device === "cuda" || device === "emulated") throw new UsageError(`Cannot train on ${device}: not built yet`);
  if (mode === "gpu" || mode === "hybrid") {
    throw new UsageError(`Cannot train in mode ${mode} on the CPU: choose --mode fae or cpu, or --device cuda`);
  }
  const hostOptions = await cpuOptions("auto");
  const host = await openHost(hostOptions);
  const tables: Backend = host;
  const ranks = Math.min(config.ranks ?? navigator.hardwareConcurrency, batchShape.batchSize);
  const memory = allocateRunMemory({ plan, batchShape, hotRows, ranks, device: host, host, tables });
  report({ event: "note", text: `Training on ${host.name} with ${ranks} rank${ranks === 1 ? "" : "s"}` });
  return ranks === 1 ? new LocalRank(memory) : await WorkerRanks.start(memory, hostOptions);
}
