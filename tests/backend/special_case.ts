/** Operations with operands that special values are put into. */
import type { Backend, Buffer } from "../../src/backend/backend.ts";
import type { Operand } from "./operands.ts";

/** Samples of an operation. */
export const SAMPLES = 3;

/** Powers of two of both signs, whose products and sums are exact in any order. */
export function powers(words: number, scale = 1): Float32Array {
  const cycle = [1, -0.5, 2, 0.5, -1, 0.25, -2];
  return Float32Array.from({ length: words }, (_, i) => scale * cycle[i % cycle.length]);
}

/** The same without signs, for outputs of ReLU and optimizer state. */
export function magnitudes(words: number): Float32Array {
  return powers(words).map(Math.abs);
}

/** An operation. */
export interface Case<Name extends string = string> {
  readonly what: string;
  readonly operands: Record<Name, Operand>;
  /** Those that special values are put into. */
  readonly inputs: readonly NoInfer<Name>[];
  run(backend: Backend, buffers: Record<NoInfer<Name>, Buffer>): void;
}

/** Checks the type of the names. */
export function define<Name extends string>(made: Case<Name>): Case {
  return made as unknown as Case;
}
