/** The copies in bf16 that products of a rank make of their operands, and the layers that make them. */
import type { Buffer, LinearShape } from "./backend.ts";

/** Layers narrower than this on either side are multiplied in single precision, which is faster for them. */
const NARROW = 32;

/** True if a layer is multiplied in bf16. */
export function isWide({ inputs, outputs }: LinearShape): boolean {
  return Math.min(inputs, outputs) >= NARROW;
}

/** Memory for copies of one operand, which grows when a larger one is copied. */
export interface CopyMemory {
  reserve(words: number): void;
}

/** One copy for each input and each weight of wide layers, and one for the gradients of outputs. */
export class Bf16Copies<Copy extends CopyMemory> {
  readonly #operands = new Map<Buffer, Copy>();
  readonly #newCopy: () => Copy;
  readonly gradients: Copy;

  constructor(newCopy: () => Copy) {
    this.#newCopy = newCopy;
    this.gradients = newCopy();
  }

  of(operand: Buffer): Copy {
    let found = this.#operands.get(operand);
    if (found === undefined) this.#operands.set(operand, found = this.#newCopy());
    return found;
  }

  /** Reserves memory for a layer, for as many samples as x has. */
  prepare(shape: LinearShape, x: Buffer, weight: Buffer): void {
    if (!isWide(shape)) return;
    this.of(x).reserve(x.words);
    this.of(weight).reserve(weight.words);
    this.gradients.reserve(Math.floor(x.words / shape.inputs) * shape.outputs);
  }
}
