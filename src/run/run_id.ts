/** The identity of a run: everything that determines the sequence of its steps. */
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { TrainConfig } from "../config/config.ts";
import { TRAIN_OPTION_LIST } from "../config/options.ts";
import type { Layout } from "../layout/layout.ts";
import type { LearningRateSchedule } from "../schedule/learning_rate.ts";
import { fingerprint } from "../storage/artifact.ts";

/**
 * Hash of everything that determines the sequence of a run's steps. Options that do not, or whose value is what runs
 * did before the option existed, are left out: runs with the same steps have the same checkpoints in any version.
 */
export function runIdOf(
  config: TrainConfig,
  layout: Layout,
  from: Pick<Checkpoint, "id"> | undefined,
  schedule: LearningRateSchedule | undefined,
): string {
  const included = TRAIN_OPTION_LIST.filter(([key, { free, before }]) => !free && before !== config[key]);
  const values = Object.fromEntries(included.map(([key]) => [key, config[key]]));
  return fingerprint([layout.id, values, from?.id, ...(schedule === undefined ? [] : ["schedule"])]);
}
