/** Units of hidden layers that are 0 for every sample of a split: ReLU passes nothing on and no gradient back. */
import { hiddenLayers, type ModelPlan } from "../model/shape.ts";

/** Dead units of each hidden layer, by the part of the model that it belongs to ("bottom", "top"), first layer first. */
export type DeadUnits = Readonly<Record<string, readonly number[]>>;

/** Counts them from what every hidden unit was, in the order of the layers. */
export function countDeadUnits(plan: ModelPlan, active: readonly boolean[]): DeadUnits {
  const dead: Record<string, number[]> = {};
  let unit = 0;
  for (const { layer: { part, outputs } } of hiddenLayers(plan)) {
    const units = active.slice(unit, unit += outputs);
    (dead[part.name] ??= []).push(units.filter((isActive) => !isActive).length);
  }
  return dead;
}

/** Tells of the layers that are dead as a whole, each with what it costs and the way out. */
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
