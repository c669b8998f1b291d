/** Which evaluation is the best so far, and when the evaluations end a run. */
import type { TrainingState } from "../checkpoint/checkpoint.ts";
import type { TrainConfig } from "../config/config.ts";
import type { Split } from "../dataset/dataset.ts";
import type { CheckpointMetrics, OnEvaluation, ResultEvent } from "../events/events.ts";
import type { Metrics } from "../events/metrics.ts";
import { UsageError } from "../errors.ts";
import { count } from "../format.ts";

/** True if a function of the caller ends the run. Throws UsageError if it returns anything else, such as a promise. */
export function stops(onEvaluation: OnEvaluation | undefined, metrics: CheckpointMetrics): boolean {
  const answer: unknown = onEvaluation?.(metrics);
  if (answer === undefined || answer === "stop") return answer === "stop";
  throw new UsageError(
    `Cannot train: onEvaluation returned ${answer} at step ${metrics.step}; it must return "stop" or undefined, at once`,
  );
}

/** Records the metrics of an evaluation in the state of training; true if they are the best so far. */
export function recordMetrics(
  { auc, logloss, byGroup }: Pick<Metrics, "auc" | "logloss" | "byGroup">,
  monitor: TrainConfig["monitor"],
  state: TrainingState,
): boolean {
  const { bestAuc, bestLogloss, bestGauc } = state;
  const gauc = byGroup?.gauc ?? NaN;
  const isBest = {
    auc: bestAuc === null || auc > bestAuc,
    logloss: bestLogloss === undefined || logloss < bestLogloss,
    gauc: bestGauc === undefined || gauc > bestGauc,
  }[monitor];
  if (!isBest) {
    state.evaluationsSinceBest++;
    return false;
  }
  state.bestAuc = Number.isNaN(auc) ? bestAuc : auc;
  if (monitor === "logloss") state.bestLogloss = logloss;
  if (monitor === "gauc" && !Number.isNaN(gauc)) state.bestGauc = gauc;
  state.evaluationsSinceBest = 0;
  return true;
}

/** A sentence about the best checkpoint, given its state and the split that selected it. */
export function bestNote({ step, bestAuc, bestLogloss, bestGauc }: TrainingState, selection: Split): string {
  const figures = [
    ...(bestLogloss === undefined ? [] : [`logloss ${bestLogloss.toFixed(4)}`]),
    ...(bestGauc === undefined ? [] : [`GAUC ${bestGauc.toFixed(4)}`]),
    ...(bestAuc === null ? [] : [`AUC ${bestAuc.toFixed(4)}`]),
  ];
  const measured = figures.length === 0 ? "" : ` (${selection} ${figures.join(", ")})`;
  return `Best checkpoint: step ${count(step)}${measured}. evaluate, predict and export use it.`;
}

/** Why a run ends after an evaluation; undefined if it continues. Depends only on what a checkpoint stores. */
export function endReason(
  { targetAuc, patience, epochs }: TrainConfig,
  { bestAuc, evaluationsSinceBest, epoch }: TrainingState,
): ResultEvent["ended"] | undefined {
  if (targetAuc !== null && bestAuc !== null && bestAuc >= targetAuc) return "target";
  if (patience !== null && evaluationsSinceBest >= patience) return "patience";
  return epoch >= epochs ? "epochs" : undefined;
}
