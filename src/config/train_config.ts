/** The type of a training configuration, which consists of parts by subject. */
import type { HotRowsConfig } from "./hot_rows_options.ts";
import type { ModelConfig } from "./model_options.ts";
import type { OptimizationConfig } from "./optimization_options.ts";
import type { PlacementConfig } from "./placement_options.ts";
import type { ProgressConfig } from "./progress_options.ts";

/** A resolved configuration; null means "not set". Each key has its option in the file of its part. */
export interface TrainConfig extends PlacementConfig, ModelConfig, OptimizationConfig, HotRowsConfig, ProgressConfig {}
/** A key of a configuration. */
export type ConfigKey = keyof TrainConfig;
