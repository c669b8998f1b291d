/** Options of training: progress, checkpoints and the end of training. */
import { z } from "zod";
import type { OptimizationConfig } from "./optimization_options.ts";
import { natural, number, oneOf, optionsIn, type OptionsOf, positive, type RuleOn } from "./option_types.ts";

/** The part of a configuration with the progress, checkpoints and the end of training; see `TrainConfig`. */
export interface ProgressConfig {
  /** Steps between progress events. */
  printFreq: number;
  /** Steps between evaluations; 0 for evaluations at the end of epochs only. Each evaluation writes a checkpoint. */
  testFreq: number;
  /** Steps between periodic checkpoints, which are in addition to those of evaluations; 0 for none by steps. */
  checkpointSteps: number;
  /** Minutes between periodic checkpoints; 0 for none by time. */
  checkpointMinutes: number;
  /** Number of periodic checkpoints to keep. */
  keep: number;
  /** Stop when the selection split reaches this AUC. */
  targetAuc: number | null;
  /** Stop when this number of evaluations have not improved the monitored metric. */
  patience: number | null;
  /** Metric of the selection split that decides which evaluation is the best. */
  monitor: "auc" | "logloss" | "gauc";
  /** False to train without writing checkpoints, for measurements and searches of hyperparameters. */
  save: boolean;
}

/** The part of a configuration that rules of these options depend on. */
type Context = ProgressConfig & Pick<OptimizationConfig, "epochs">;
/** Returns why an option has no effect; undefined if it has one. */
type Rule = RuleOn<Context>;

/** For options about when checkpoints are written. */
const savingRule: Rule = ({ save }) =>
  save ? undefined : "with --no-save: no checkpoint is written; leave out one of them";

/** Only periodic checkpoints are pruned. */
const keepRule: Rule = ({ checkpointSteps, checkpointMinutes }) =>
  checkpointSteps === 0 && checkpointMinutes === 0
    ? "without periodic checkpoints: set --checkpoint-steps or --checkpoint-minutes"
    : undefined;

/** Training would end at a checkpoint that is not the best. */
const targetAucRule: Rule = ({ monitor, targetAuc }) =>
  monitor !== "auc" && targetAuc !== null ? `with --monitor ${monitor}: choose --monitor auc` : undefined;

/** One evaluation cannot be worse than another. */
const patienceRule: Rule = ({ patience, epochs, testFreq }) =>
  testFreq === 0 && patience !== null && patience >= epochs
    ? `with ${epochs} evaluation${epochs === 1 ? "" : "s"}, one per epoch: set --test-freq or more --epochs`
    : undefined;

const option = optionsIn<Context>("Progress, checkpoints and the end:");

/** The options, by their keys in a configuration. */
export const PROGRESS_OPTIONS: OptionsOf<ProgressConfig, Context> = {
  printFreq: option("--print-freq <steps>", "steps between progress events", {
    type: positive,
    default: 100,
    free: true,
  }),
  testFreq: option("--test-freq <steps>", "steps between evaluations", {
    type: natural,
    default: 0,
    shown: "at the end of epochs",
  }),
  checkpointSteps: option(
    "--checkpoint-steps <n>",
    "steps between checkpoints, in addition to those at evaluations; 0 for none",
    {
      type: natural,
      default: 0,
      rules: [savingRule],
      free: true,
    },
  ),
  checkpointMinutes: option("--checkpoint-minutes <n>", "minutes between checkpoints; 0 for none", {
    type: number("from 0", 0),
    default: 30,
    rules: [savingRule],
    free: true,
  }),
  keep: option("--keep <n>", "number of these periodic checkpoints to keep", {
    type: natural,
    default: 2,
    rules: [savingRule, keepRule],
    free: true,
  }),
  targetAuc: option("--target-auc <auc>", "stop at this AUC of the validation split", {
    type: number("from 0 to 1", 0, 1).nullable(),
    default: null,
    shown: "none",
    rules: [targetAucRule],
    aliases: [{ flag: "--mlperf-auc-threshold" }],
  }),
  patience: option("--patience <n>", "stop after this number of evaluations without improvement", {
    type: positive.nullable(),
    default: null,
    shown: "never",
    rules: [patienceRule],
  }),
  monitor: option("--monitor <metric>", "metric that decides which checkpoint is the best", {
    type: oneOf(["auc", "logloss", "gauc"]),
    default: "auc",
    before: "auc",
  }),
  save: option("--no-save", "write no checkpoints", {
    type: z.boolean("must be true or false"),
    default: true,
    commands: ["train"],
  }),
};
