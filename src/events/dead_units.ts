/**
 * Units of hidden layers that are 0 for every sample of a split: their ReLU passes no activation forward and no
 * gradient back.
 */
import { hiddenLayers, type ModelPlan } from "../model/shape.ts";

/** Number of dead units of each hidden layer, by the part of the model ("bottom", "top"), first layer first. */
export type DeadUnits = Readonly<Record<string, readonly number[]>>;

/** Counts dead units from flags of all hidden units, in the order of the layers. */
export function countDeadUnits(plan: ModelPlan, active: readonly boolean[]): DeadUnits {
  const dead: Record<string, number[]> = {};
  let unit = 0;
  for (const { layer: { part, outputs } } of hiddenLayers(plan)) {
    const units = active.slice(unit, unit += outputs);
    (dead[part.name] ??= []).push(units.filter((isActive) => !isActive).length);
  }
  return dead;
}

/** Notes about layers whose units are all dead, each with its consequence and what to do. */
export function deadLayerNotes(plan: ModelPlan, dead: DeadUnits, split: string): string[] {
  const seen: Record<string, number> = {};
  return hiddenLayers(plan).flatMap(({ layer: { part, title, outputs } }) => {
    const count = dead[part.name][seen[part.name] = (seen[part.name] ?? -1) + 1];
    return count < outputs ? [] : [
      `All ${count} units of ${title} are 0 for every sample of the ${split} split: ${part.ifDead}, and training ` +
      `cannot recover them; start again with a lower --learning-rate or with --lr-num-warmup-steps 100`,
    ];
  });
}
