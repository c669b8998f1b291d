/** What makes two runs the same: all that decides the sequence of their steps. */
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { TrainConfig } from "../config/config.ts";
import { TRAIN_OPTION_LIST } from "../config/options.ts";
import type { Layout } from "../layout/layout.ts";
import type { LearningRateSchedule } from "../schedule/learning_rate.ts";
import { fingerprint } from "../storage/artifact.ts";

/**
 * Names all that decides the sequence of a run's steps. An option that does not, or does what runs did before there was
 * one, is left out: runs of the same steps leave the same checkpoints, of whatever version they are.
 */
export function runIdOf(
  config: TrainConfig,
  layout: Layout,
  from: Checkpoint | undefined,
  schedule: LearningRateSchedule | undefined,
): string {
  const told = TRAIN_OPTION_LIST.filter(([key, { free, before }]) => !free && before !== config[key]);
  const values = Object.fromEntries(told.map(([key]) => [key, config[key]]));
  return fingerprint([layout.id, values, from?.id, ...(schedule === undefined ? [] : ["schedule"])]);
}
