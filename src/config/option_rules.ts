/** When options of training do nothing, and what to do instead: the rules that entries of `options.ts` name. */
import { OPTIMIZERS } from "../optimizer/optimizers.ts";
import type { CommandLine, RuleOn } from "./option_types.ts";
import type { TrainConfig } from "./train_config.ts";

/** When an option of training does nothing. */
export type Rule = RuleOn<TrainConfig>;

const collectiveOf = (line: CommandLine | undefined) => line?.values.collective;

/** It says which rows are hot, or in what order hot and cold batches come. */
export const hot: Rule = ({ mode }) =>
  mode === "fae" ? undefined : `with --mode ${mode}: only mode fae has hot rows and batches; choose --mode fae`;

/** Hot and cold batches are an order of their own. */
export const shuffle: Rule = ({ shuffle, mode, hotMemory }, line) => {
  if (shuffle !== "none") return undefined;
  if (line?.command === "layout") {
    return hotMemory === 0 ? undefined : "none with hot batches: leave it out, or choose --hot-memory 0";
  }
  return mode === "cpu" || mode === "gpu"
    ? undefined
    : `none with --mode ${mode}: only modes cpu and gpu keep the order of the log; choose one of them, or --shuffle batches`;
};

/** It says how a device computes. */
const onDevice: Rule = ({ mode, device }, line) => {
  const why = "it applies to GPUs only";
  if (mode === "cpu") return `with --mode cpu: ${why}; choose --mode fae, hybrid or gpu on --device cuda`;
  if (device === "cpu") return `with --device cpu: ${why}; choose --device cuda`;
  return collectiveOf(line) === "mpi" ? `with --collective mpi: ${why}; choose --collective nccl` : undefined;
};

/** It says how a CPU computes. */
export const onCpu: Rule = ({ blas, mode, device }, line) => {
  if (line?.given.has("--resume")) return undefined; // where the run computes decides
  if (line?.command === "evaluate" || line?.command === "predict") return undefined; // they compute on the CPU
  if (blas === "auto" || mode === "cpu" || device === "cpu") return undefined; // auto is as without the option
  if (device === "auto" && collectiveOf(line) === "mpi") return undefined;
  const why = "it applies to CPUs only";
  if (mode === "gpu" || mode === "hybrid") return `with --mode ${mode}: ${why}; leave it out`;
  return device === "auto"
    ? "with --device auto: that may be a GPU, where it has no effect; choose --device cpu"
    : `with --device ${device}: ${why}; choose --device cpu`;
};

/** A CPU has no tf32. */
export const precision: Rule = (config, line) => config.precision === "tf32" ? onDevice(config, line) : undefined;

/** It says how a device computes, which `auto` may not be. */
export const activations: Rule = (config, line) =>
  onDevice(config, line) ??
    (config.device === "auto" && line !== undefined && collectiveOf(line) !== "nccl"
      ? "with --device auto: that may be the CPU, where it has no effect; choose --device cuda"
      : undefined);

/** Rows go to a disk from one rank in mode cpu. */
export const memory: Rule = ({ mode, ranks }, line) => {
  if (line?.given.has("--resume")) return undefined; // how the run began decides
  const way = "only one rank in mode cpu stores rows on disk; choose --mode cpu --ranks 1, or leave out --memory";
  if (mode !== "cpu") return `with --mode ${mode}: ${way}`;
  if (ranks !== null && ranks > 1) return `with --ranks ${ranks}: ${way}`;
  const collective = collectiveOf(line);
  return collective === "mpi" || collective === "nccl" ? `with --collective ${collective}: ${way}` : undefined;
};

/** Processes are counted by what starts them. */
export const ranks: Rule = (_, line) => {
  const collective = collectiveOf(line);
  return collective === "mpi" || collective === "nccl"
    ? `with --collective ${collective}: mpirun sets the number of ranks`
    : undefined;
};

/** It says when checkpoints are written. */
export const saving: Rule = ({ save }) =>
  save ? undefined : "with --no-save: no checkpoint is written; leave out one of them";

/** Checkpoints of evaluations have names of their own. */
export const keep: Rule = ({ checkpointSteps, checkpointMinutes }) =>
  checkpointSteps === 0 && checkpointMinutes === 0
    ? "without periodic checkpoints: set --checkpoint-steps or --checkpoint-minutes"
    : undefined;

/** Some optimizers have none. */
export const weightDecay: Rule = ({ weightDecay, optimizer }) =>
  weightDecay > 0 && OPTIMIZERS[optimizer].weightDecay === undefined
    ? `with --optimizer ${optimizer}: it has no weight decay; choose --optimizer adam or adamw`
    : undefined;

/** It says how the learning rate decays. */
export const decaying: Rule = ({ decaySteps }) =>
  decaySteps === 0 ? "without a decay: set --lr-num-decay-steps" : undefined;

/** Training would end at a checkpoint that is not the best one. */
export const targetAuc: Rule = ({ monitor, targetAuc }) =>
  monitor === "logloss" && targetAuc !== null ? "with --monitor logloss: choose --monitor auc" : undefined;

/** One evaluation cannot be worse than another. */
export const patience: Rule = ({ patience, epochs, testFreq }) =>
  testFreq === 0 && patience !== null && patience >= epochs
    ? `with ${epochs} evaluation${epochs === 1 ? "" : "s"}, one per epoch: set --test-freq or more --epochs`
    : undefined;

/** Published figures are not sampled. */
export const seed: Rule = (_, line) =>
  line?.command === "plan" && line.inputs.length === 0
    ? "without a dataset: published figures are not sampled; name a dataset or leave it out"
    : undefined;
