/**
 * Estimates the memory of training, the coverage of a memory budget and the time of a step, without training; examines
 * this machine.
 *
 * @example Memory of the published Terabyte model, and the time of its steps on a machine with H100s
 * ```ts
 * import assert from "node:assert/strict";
 * import { gpuMachine, planPublished, publishedData, thisMachine } from "@hotset/hotset/plan";
 * import { resolveConfig } from "@hotset/hotset/train";
 *
 * const machine = gpuMachine("h100");
 * const plan = planPublished(publishedData("terabyte"), resolveConfig("terabyte"), thisMachine(), undefined, machine);
 * const onCpu = plan.placements.find(({ mode }) => mode === "cpu")!;
 * assert(onCpu.host > 10 * 2 ** 30, `${onCpu.host} bytes`);
 * const onGpus = plan.on!.times.find(({ mode }) => mode === "fae")!;
 * assert(onGpus.cold.total < 0.1, `${onGpus.cold.total} s`);
 * ```
 *
 * @example Memory of a run on a dataset
 * ```ts
 * import assert from "node:assert/strict";
 * import { generateDataset } from "@hotset/hotset/dataset";
 * import { planDataset, thisMachine } from "@hotset/hotset/plan";
 * import { resolveConfig } from "@hotset/hotset/train";
 *
 * const folder = Deno.makeTempDirSync();
 * const fractions = { validation: 0.1, test: 0.1 };
 * const dataset = await generateDataset(`${folder}/clicks`, { samples: 2000, seed: 1, scale: 1000, fractions });
 * const plan = await planDataset(dataset, resolveConfig("default", { hotMemory: 2 ** 20 }), thisMachine());
 * assert(plan.hotBytes <= 2 ** 20);
 * assert(plan.placements.every(({ fits }) => fits));
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @example Components of this machine (measures speed for about three seconds)
 * ```ts ignore
 * import assert from "node:assert/strict";
 * import { diagnose } from "@hotset/hotset/plan";
 *
 * const { findings, cores } = await diagnose();
 * assert(cores >= 1);
 * for (const { name, found, detail } of findings) console.log(found ? "found" : "missing", name, detail);
 * ```
 *
 * @module
 */
export {
  type Machine,
  type PlanConfig,
  planDataset,
  type PlannedTable,
  planPublished,
  thisMachine,
  type TrainingPlan,
} from "../src/plan/plan_training.ts";
export type { PlannedBudget } from "../src/plan/budgets.ts";
export { type GpuMachine, gpuMachine } from "../src/plan/machines.ts";
export type { PlannedTime, StepTime } from "../src/plan/time.ts";
export type { MemoryPart, MemoryPlan, Placement } from "../src/plan/memory.ts";
export { type LogShape, type PublishedData } from "../src/dataset/published.ts";
export { publishedData } from "../src/plan/published.ts";
export { diagnose, type Diagnosis, type Finding } from "../src/doctor.ts";
