/**
 * What training would need and what a memory budget would cover, without training; and what this machine offers.
 *
 * @example Memory of the published Terabyte model
 * ```ts
 * import assert from "node:assert/strict";
 * import { planPublished, publishedData, thisMachine } from "@hotset/hotset/plan";
 * import { resolveConfig } from "@hotset/hotset/train";
 *
 * const plan = planPublished(publishedData("terabyte"), resolveConfig("terabyte"), thisMachine());
 * const onCpu = plan.placements.find(({ mode }) => mode === "cpu")!;
 * assert(onCpu.host > 10 * 2 ** 30, `${onCpu.host} bytes`);
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
export type { MemoryPart, MemoryPlan, Placement } from "../src/plan/memory.ts";
export { type NamedShape, type PublishedData, publishedData } from "../src/plan/published.ts";
export { type Layer, type ModelPlan, type ModelShape, planModel } from "../src/model/shape.ts";
export type { Activation, InteractionKind, InteractionShape, LinearShape } from "../src/backend/backend.ts";
export { diagnose, type Diagnosis, type Finding } from "../src/doctor.ts";
