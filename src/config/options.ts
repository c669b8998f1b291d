/**
 * The training options. Each is declared in the file of its subject: a field of the configuration, and an entry with
 * everything else. Derived from the entries: the defaults and validation of configurations (`config.ts`), the run id
 * (`src/run/run_id.ts`), the options of the command line (`cli/train_options.ts`), and their help and names in other
 * tools (`cli/arguments.ts`).
 */
import { HOT_ROWS_OPTIONS } from "./hot_rows_options.ts";
import { MODEL_OPTIONS } from "./model_options.ts";
import { OPTIMIZATION_OPTIONS } from "./optimization_options.ts";
import type { OptionOf, OptionsOf } from "./option_types.ts";
import { PLACEMENT_OPTIONS } from "./placement_options.ts";
import { PROGRESS_OPTIONS } from "./progress_options.ts";
import type { ConfigKey, TrainConfig } from "./train_config.ts";

/** An option of training. */
export type TrainOption<T = unknown> = OptionOf<T, TrainConfig>;

const { seed, ...optimization } = OPTIMIZATION_OPTIONS;

/** The options, by their keys in a configuration. Run ids depend on the order, in which the seed was always last. */
export const TRAIN_OPTIONS: OptionsOf<TrainConfig> = {
  ...PLACEMENT_OPTIONS,
  ...MODEL_OPTIONS,
  ...optimization,
  ...HOT_ROWS_OPTIONS,
  ...PROGRESS_OPTIONS,
  seed,
};

export const TRAIN_OPTION_LIST = Object.entries(TRAIN_OPTIONS) as [ConfigKey, TrainOption][];

/** The name of an option on the command line: `--ranks` of `--ranks <n>`. */
export function longName(flag: string): string {
  return flag.split(" ", 1)[0];
}
