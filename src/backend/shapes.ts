/** Sizes, kinds and buffers of the operations in backend.ts. */
import type { OptimizerName } from "../optimizer/optimizers.ts";

/**
 * `Backend.cachedWords` of the CPU backend, the same on all processors because the bits depend on it. See "Against the
 * machine's limit" in docs/performance.md.
 */
export const CPU_CACHED_WORDS = 0.75 * 2 ** 20;

/** Activation that follows a matrix product. */
export type Activation = "identity" | "relu" | "sigmoid";

/** How the output of the bottom MLP and the pooled rows are combined. */
export type InteractionKind = "dot" | "cat";

/** A fully connected layer. */
export interface LinearShape {
  /** Width of the input. */
  readonly inputs: number;
  /** Width of the output. */
  readonly outputs: number;
  /** Activation of the output. */
  readonly activation: Activation;
  /**
   * Words from a row of the input, and of its gradient, to the next; default `inputs`. Words behind the inputs are 0 in the
   * input, and may be overwritten in its gradient. Only strides that `Backend.strideOf` returned are permitted.
   */
  readonly stride?: number;
  /** True if the weight has not changed since the `linear` before with it: a backend may use what it made of it then. */
  readonly sameWeight?: boolean;
}

/** The interaction of `tables` pooled vectors and, if there is one, a bottom vector, all of length `dim`. */
export interface InteractionShape {
  /** Products of all pairs, or concatenation. */
  readonly kind: InteractionKind;
  /** True if there is a bottom vector, which precedes the pooled ones. `cat` needs one. */
  readonly bottom: boolean;
  /** Number of pooled vectors of a sample. */
  readonly tables: number;
  /** Length of each vector. */
  readonly dim: number;
  /** Words from a row of the output, and of its gradient, to the next; default the columns. The others are not touched. */
  readonly stride?: number;
}

/** Number of vectors of a sample that are copied to the output: with `dot` only the bottom vector, if there is one. */
export function vectorsPassedOn({ kind, bottom, tables }: InteractionShape): number {
  return kind === "dot" && bottom ? 1 : tables + Number(bottom);
}

/** Columns of the output: the copied vectors and, with `dot`, the products of all pairs. */
export function interactionWidth(shape: InteractionShape): number {
  const vectors = shape.tables + Number(shape.bottom);
  return shape.dim * vectorsPassedOn(shape) + (shape.kind === "dot" ? vectors * (vectors - 1) / 2 : 0);
}

/** A factorisation machine over the pooled rows of `tables` tables. */
export interface MachineShape {
  /** 1 for only the weights of rows, 2 for the products of their factors too. */
  readonly degree: 1 | 2;
  /** True if one bias is the same for all samples, false if each sample has its own. */
  readonly sharedBias: boolean;
  /** Number of pooled rows of a sample. */
  readonly tables: number;
  /** Length of a row: its factors, and its weight at the end. */
  readonly dim: number;
}

/** Dropout of a layer's output in one place of a model. */
export interface DropoutShape {
  /** Values of a sample. */
  readonly width: number;
  /** Probability that a value is replaced by 0, below 1. */
  readonly rate: number;
  /** u32: a number of the place and the run. */
  readonly key: number;
  /** Position in the batch of the first sample. */
  readonly firstSample: number;
}

/** A product and a sum of vectors of `width` values. */
export interface MultiplyAddShape {
  readonly width: number;
  /** True if the gradient of a, or c, is added to what its buffer holds; default false. */
  readonly addsA?: boolean;
  readonly addsC?: boolean;
}

/** An update of embedding rows, of which rank `rank` of `ranks` updates its share. */
export interface RowUpdateShape {
  readonly optimizer: OptimizerName;
  readonly dim: number;
  readonly rank: number;
  readonly ranks: number;
}

/** Sequences of `steps` vectors of `width` values. */
export interface StepsShape {
  readonly steps: number;
  readonly width: number;
}

/** Memory of a backend: `words` words of 4 bytes. Its content is private to the backend that allocated it. */
export interface Buffer {
  /** Number of words. */
  readonly words: number;
}

/** Buffers of `Backend.linearBackward`: its operands, and the gradients of y and of the operands. */
export interface LinearGradients {
  readonly x: Buffer;
  readonly weight: Buffer;
  readonly y: Buffer;
  readonly dY: Buffer;
  readonly dX: Buffer | undefined;
  readonly dWeight: Buffer;
  readonly dBias: Buffer | undefined;
  /** True if dX, or dWeight, is added to what its buffer holds, on a backend that `addsProducts`; default false. */
  readonly addsX?: boolean;
  readonly addsWeight?: boolean;
}

/** Buffers of `Backend.multiplyAdd`. */
export interface MultiplyAddOperands {
  readonly a: Buffer;
  readonly b: Buffer;
  readonly bias: Buffer;
  readonly c: Buffer;
}

/** Buffers of `Backend.multiplyAddBackward`. */
export interface MultiplyAddGradients {
  readonly a: Buffer;
  readonly b: Buffer;
  readonly bias: Buffer;
  readonly dY: Buffer;
  readonly dA: Buffer;
  readonly dB: Buffer;
  readonly dBias: Buffer;
  readonly dC: Buffer | undefined;
}

/** Buffers of `Backend.interactBackward`. */
export interface InteractionGradients {
  readonly bottom: Buffer | undefined;
  readonly pooled: Buffer;
  readonly dOutput: Buffer;
  readonly dBottom: Buffer | undefined;
  readonly dPooled: Buffer;
}

/** Buffers of `Backend.factoriseBackward`. */
export interface MachineGradients {
  readonly pooled: Buffer;
  readonly dY: Buffer;
  readonly dPooled: Buffer;
  readonly dBias: Buffer | undefined;
}

/** Buffers of `StepAttention.weighStepsBackward`. */
export interface WeighedStepsGradients {
  readonly x: Buffer;
  readonly weights: Buffer;
  readonly dY: Buffer;
  readonly dX: Buffer;
  readonly dWeights: Buffer;
}
