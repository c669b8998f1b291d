/** Rules that entries of `options.ts` name: when an option of training has no effect, and what to do instead. */
import { OPTIMIZERS } from "../optimizer/optimizers.ts";
import type { CommandLine, RuleOn } from "./option_types.ts";
import type { TrainConfig } from "./train_config.ts";

/** Returns why an option has no effect; undefined if it has. */
export type Rule = RuleOn<TrainConfig>;

const collectiveOf = (line: CommandLine | undefined) => line?.values.collective;

/** For options about hot rows or the order of hot and cold batches. */
export const hot: Rule = ({ mode }) =>
  mode === "fae" ? undefined : `with --mode ${mode}: only mode fae has hot rows and batches; choose --mode fae`;

/** With hot and cold batches, the scheduler decides the order. */
export const shuffle: Rule = ({ shuffle, mode, hotMemory }, line) => {
  if (shuffle !== "none") return undefined;
  if (line?.command === "layout") {
    return hotMemory === 0 ? undefined : "none with hot batches: leave it out, or choose --hot-memory 0";
  }
  return mode === "cpu" || mode === "gpu"
    ? undefined
    : `none with --mode ${mode}: only modes cpu and gpu keep the order of the log; choose one of them, or --shuffle batches`;
};

/** For options about computing on a device. */
const onDevice: Rule = ({ mode, device }, line) => {
  const why = "it applies to GPUs only";
  if (mode === "cpu") return `with --mode cpu: ${why}; choose --mode fae, hybrid or gpu on --device cuda`;
  if (device === "cpu") return `with --device cpu: ${why}; choose --device cuda`;
  return collectiveOf(line) === "mpi" ? `with --collective mpi: ${why}; choose --collective nccl` : undefined;
};

/** For options about computing on a CPU. */
export const onCpu: Rule = ({ blas, mode, device }, line) => {
  if (line?.given.has("--resume")) return undefined; // the run's first command decided it
  if (line?.command === "evaluate" || line?.command === "predict") return undefined; // always on the CPU
  if (blas === "auto" || mode === "cpu" || device === "cpu") return undefined; // auto is the same as no option
  if (device === "auto" && collectiveOf(line) === "mpi") return undefined;
  const why = "it applies to CPUs only";
  if (mode === "gpu" || mode === "hybrid") return `with --mode ${mode}: ${why}; leave it out`;
  return device === "auto"
    ? "with --device auto: that may be a GPU, where it has no effect; choose --device cpu"
    : `with --device ${device}: ${why}; choose --device cpu`;
};

/** A CPU has no tf32. */
export const precision: Rule = (config, line) => config.precision === "tf32" ? onDevice(config, line) : undefined;

/** For options about computing on a device; `--device auto` may be a CPU. */
export const activations: Rule = (config, line) =>
  onDevice(config, line) ??
    (config.device === "auto" && line !== undefined && collectiveOf(line) !== "nccl"
      ? "with --device auto: that may be the CPU, where it has no effect; choose --device cuda"
      : undefined);

/** Rows on disk need mode cpu in one process. */
export const memory: Rule = ({ mode }, line) => {
  if (line?.given.has("--resume")) return undefined; // the run's first command decided it
  const way = "only the ranks of one process store rows on disk, in mode cpu; choose --mode cpu, or leave out --memory";
  if (mode !== "cpu") return `with --mode ${mode}: ${way}`;
  const collective = collectiveOf(line);
  return collective === "mpi" || collective === "nccl" ? `with --collective ${collective}: ${way}` : undefined;
};

/** With MPI, mpirun decides the number of ranks. */
export const ranks: Rule = (_, line) => {
  const collective = collectiveOf(line);
  return collective === "mpi" || collective === "nccl"
    ? `with --collective ${collective}: mpirun sets the number of ranks`
    : undefined;
};

/** For options about when checkpoints are written. */
export const saving: Rule = ({ save }) =>
  save ? undefined : "with --no-save: no checkpoint is written; leave out one of them";

/** Only periodic checkpoints are pruned. */
export const keep: Rule = ({ checkpointSteps, checkpointMinutes }) =>
  checkpointSteps === 0 && checkpointMinutes === 0
    ? "without periodic checkpoints: set --checkpoint-steps or --checkpoint-minutes"
    : undefined;

/** Some optimizers have no weight decay. */
export const weightDecay: Rule = ({ weightDecay, optimizer }) =>
  weightDecay > 0 && OPTIMIZERS[optimizer].weightDecay === undefined
    ? `with --optimizer ${optimizer}: it has no weight decay; choose --optimizer adam or adamw`
    : undefined;

/** For options about the decay of the learning rate. */
export const decaying: Rule = ({ decaySteps }) =>
  decaySteps === 0 ? "without a decay: set --lr-num-decay-steps" : undefined;

/** Training would end at a checkpoint that is not the best. */
export const targetAuc: Rule = ({ monitor, targetAuc }) =>
  monitor !== "auc" && targetAuc !== null ? `with --monitor ${monitor}: choose --monitor auc` : undefined;

/** One evaluation cannot be worse than another. */
export const patience: Rule = ({ patience, epochs, testFreq }) =>
  testFreq === 0 && patience !== null && patience >= epochs
    ? `with ${epochs} evaluation${epochs === 1 ? "" : "s"}, one per epoch: set --test-freq or more --epochs`
    : undefined;

/** Published data sets are not sampled. */
export const seed: Rule = (_, line) =>
  line?.command === "plan" && line.inputs.length === 0
    ? "without a dataset: published figures are not sampled; name a dataset or leave it out"
    : undefined;
