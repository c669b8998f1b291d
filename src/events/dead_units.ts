/** Units of hidden layers that are 0 for every sample of a split: ReLU passes nothing on and no gradient back. */
import { hiddenLayers, type ModelPlan } from "../model/shape.ts";

/** Dead units of each hidden layer. */
export interface DeadUnits {
  /** Of the bottom MLP, from its first layer on. */
  readonly bottom: readonly number[];
  /** Of the top MLP without its last layer, whose output is the logit. */
  readonly top: readonly number[];
}

/** Counts them from what every hidden unit was, in the order of the layers. */
export function countDeadUnits(plan: ModelPlan, active: readonly boolean[]): DeadUnits {
  let unit = 0;
  const dead = hiddenLayers(plan).map(({ shape: { outputs } }) => {
    const layer = active.slice(unit, unit += outputs);
    return layer.filter((isActive) => !isActive).length;
  });
  return { bottom: dead.slice(0, plan.bottom.length), top: dead.slice(plan.bottom.length) };
}

/** Tells of the layers that are dead as a whole, each with what it costs and the way out. */
export function deadLayerNotes(plan: ModelPlan, dead: DeadUnits, split: string): string[] {
  const consequences = {
    bottom: "dense features no longer change any prediction",
    top: "all predictions are the same",
  };
  return (["bottom", "top"] as const).flatMap((mlp) =>
    dead[mlp].flatMap((count, i) =>
      count < plan[mlp][i].shape.outputs ? [] : [
        `All ${count} units of layer ${i + 1} of the ${mlp} MLP are 0 for every sample of the ${split} split: ` +
        `${consequences[mlp]}, and training cannot bring them back; begin again with a lower --learning-rate or with ` +
        `--lr-num-warmup-steps 100`,
      ]
    )
  );
}
