/** The type of a training configuration, with the meaning of each key. `options.ts` has an entry for each. */
import type { OptimizerName } from "../optimizer/optimizers.ts";
import type { MemoryBudget } from "./memory_budget.ts";

/** Values of `blas` except `auto`. */
export const LIBRARIES = ["openblas", "onednn", "ort", "wasm"] as const;

/** A resolved configuration; null means "not set". Each key has its option in `options.ts`. */
export interface TrainConfig {
  /** Placement of rows and MLPs: all on the CPU, rows on the host, all on the device, or hot rows replicated (FAE). */
  mode: "cpu" | "hybrid" | "gpu" | "fae";
  /** Device that computes. */
  device: "auto" | "cpu" | "cuda" | "emulated";
  /**
   * Library for matrix products on a CPU; auto is onednn for precision bf16 and with AVX-512, else the first available
   * of openblas, ort (ONNX Runtime) and wasm.
   */
  blas: "auto" | "openblas" | "onednn" | "ort" | "wasm";
  /** Precision of the operands of matrix products; tf32 on devices only. */
  precision: "fp32" | "tf32" | "bf16";
  /** Implementation of activations on a device: fused kernels, or cuDNN. */
  activations: "ptx" | "cudnn";
  /** Dimension of embedding rows. */
  dim: number;
  /** Required number of dense features of the data; null for any. */
  denseFeatures: number | null;
  /** Widths of the bottom MLP without its input; the last one is `dim`. */
  bottom: number[];
  /** Widths of the top MLP without its input, which the interaction determines. */
  top: number[];
  /** Interaction of the features: products of all pairs, or concatenation. */
  interaction: "dot" | "cat";
  /** Samples per batch. */
  batchSize: number;
  /**
   * What is shuffled: the samples once, by the layout, and then the batches of each epoch; only the batches; or
   * nothing.
   */
  shuffle: "samples" | "batches" | "none";
  /** Passes over the train split. */
  epochs: number;
  /** Optimizer of rows and dense parameters. */
  optimizer: OptimizerName;
  /** The learning rate, before warm-up and decay. */
  learningRate: number;
  /** Weight decay of optimizers that have one; 0 for none. */
  weightDecay: number;
  /** Maximum norm of a step's gradients; larger ones are scaled down. Null for no limit. */
  clipNorm: number | null;
  /** Weight of positives in the loss; negatives have weight 1. */
  positiveWeight: number;
  /** Share of each label that the loss replaces by one half (label smoothing). */
  labelSmoothing: number;
  /** Steps of linear warm-up of the learning rate; 0 for none. */
  warmupSteps: number;
  /** Step at which the decay of the learning rate begins. */
  decayStartStep: number;
  /** Steps of the decay; 0 for none. */
  decaySteps: number;
  /** Shape of the decay: a polynomial of degree 2, or half a cosine. */
  decay: "polynomial" | "cosine";
  /** Number of workers; null for one per core. */
  ranks: number | null;
  /**
   * Memory budget of the run: rows beyond it are stored on disk, with the same results. Null to keep all rows in memory
   * if they fit. Mode cpu in one process.
   */
  memory: MemoryBudget | null;
  /** Budget of the hot rows and their optimizer state, in bytes. */
  hotMemory: number;
  /**
   * Percent of the epoch's batches of each kind in the first turn; the scheduler halves and doubles it during training.
   */
  schedulerRate: number;
  /** Kind of batches at the beginning of each turn in mode fae. */
  firstTurn: "hot" | "cold";
  /** Percent of samples that the profile logs; null to use exact counts if they are known. */
  sampleRate: number | null;
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
  /** Seed of everything random. */
  seed: number;
}
/** A key of a configuration. */
export type ConfigKey = keyof TrainConfig;
