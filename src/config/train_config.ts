/** What a training run is told, as a type: what each key means. `options.ts` has an entry for each. */
import type { OptimizerName } from "../optimizer/optimizers.ts";
import type { MemoryBudget } from "./memory_budget.ts";

/** What `blas` may name, `auto` apart. */
export const LIBRARIES = ["openblas", "onednn", "ort", "wasm"] as const;

/** A resolved configuration; null is "not said". Each key has its option in `options.ts`. */
export interface TrainConfig {
  /** Where rows and MLPs live: all on the CPU, rows on the host, all on the device, or hot rows replicated (FAE). */
  mode: "cpu" | "hybrid" | "gpu" | "fae";
  /** What computes. */
  device: "auto" | "cpu" | "cuda" | "emulated";
  /**
   * What multiplies matrices on a CPU; auto takes onednn for precision bf16 and where it finds AVX-512, else the first of
   * openblas, ort (ONNX Runtime) and wasm that is there.
   */
  blas: "auto" | "openblas" | "onednn" | "ort" | "wasm";
  /** Precision of what matrix products multiply; a CPU has no tf32. */
  precision: "fp32" | "tf32" | "bf16";
  /** What runs the activations on a device: the fused kernels, or cuDNN. */
  activations: "ptx" | "cudnn";
  /** Length of embedding rows. */
  dim: number;
  /** Dense features that the data must have; null to take what it has. */
  denseFeatures: number | null;
  /** Widths of the bottom MLP after its input, the last one `dim`. */
  bottom: number[];
  /** Widths of the top MLP without its input, which the interaction decides. */
  top: number[];
  /** How features interact. */
  interaction: "dot" | "cat";
  /** Samples to a batch. */
  batchSize: number;
  /**
   * What is in random order: the samples once, when they are laid out, and then the batches of each epoch; the batches
   * alone; or nothing.
   */
  shuffle: "samples" | "batches" | "none";
  /** Passes over the train split. */
  epochs: number;
  /** How gradients change parameters. */
  optimizer: OptimizerName;
  /** The learning rate, before warm-up and decay. */
  learningRate: number;
  /** Weight decay of optimizers that have one; 0 for none. */
  weightDecay: number;
  /** The largest norm of a step's gradients, to which larger ones are scaled down; null for any. */
  clipNorm: number | null;
  /** What the loss of a positive counts for, that of a negative being 1. */
  positiveWeight: number;
  /** The share of each label that the loss replaces by one half. */
  labelSmoothing: number;
  /** Steps over which the learning rate rises; 0 for none. */
  warmupSteps: number;
  /** Step at which the learning rate begins to fall. */
  decayStartStep: number;
  /** Steps that the fall takes; 0 for none. */
  decaySteps: number;
  /** How it falls: by a polynomial of degree 2, or by half a cosine. */
  decay: "polynomial" | "cosine";
  /** Workers; null for one a core. */
  ranks: number | null;
  /**
   * Memory of the run: rows beyond it are kept on a disk, with the same results. Null to keep all rows in memory where they
   * fit. Mode cpu with one rank.
   */
  memory: MemoryBudget | null;
  /** Budget of the hot rows and their optimizer state, in bytes. */
  hotMemory: number;
  /** Percent of the epoch's batches of each kind in the first turn; the scheduler halves and doubles it from there. */
  schedulerRate: number;
  /** The kind of batches that each turn begins with in mode fae. */
  firstTurn: "hot" | "cold";
  /** Percent of samples that the profile logs; null to use exact counts where they are known. */
  sampleRate: number | null;
  /** Steps between progress events. */
  printFreq: number;
  /** Steps between evaluations with their checkpoints; 0 for the end of epochs only. */
  testFreq: number;
  /** Steps between checkpoints beside those of evaluations; 0 for none by steps. */
  checkpointSteps: number;
  /** Minutes between them; 0 for none by time. */
  checkpointMinutes: number;
  /** How many of those are kept under their steps' names. */
  keep: number;
  /** Stop when the selection split reaches this AUC. */
  targetAuc: number | null;
  /** Stop when the AUC has not improved for so many evaluations. */
  patience: number | null;
  /** What of the selection split says which evaluation is the best. */
  monitor: "auc" | "logloss";
  /** False to train without writing checkpoints, for measurements and searches. */
  save: boolean;
  /** Seed of everything random. */
  seed: number;
}
/** A key of a configuration. */
export type ConfigKey = keyof TrainConfig;
