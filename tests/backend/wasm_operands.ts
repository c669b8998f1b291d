/** Operands of the WASM kernels, and the reference to compare them with. */
import { writeSteps } from "./operands.ts";
import assert from "node:assert/strict";
import { type Buffer, Header, HEADER_WORDS } from "../../src/backend/backend.ts";
import {
  type Address,
  growMemory,
  instantiateKernels,
  type Kernels,
  newMemory,
  PAGE_BYTES,
} from "../../src/backend/cpu/wasm/kernels.ts";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import type { Random } from "../../src/random.ts";

const GUARD = 0x7fc0beef; // a NaN: operands that leak into results show
const GUARD_WORDS = 16;

/** Operands for one test in a shared memory, with guard words around each that no kernel may change. */
export class Operands {
  readonly memory = newMemory(64);
  readonly kernels: Kernels = instantiateKernels(this.memory);
  readonly #guards: number[] = [];
  #next = 256;

  constructor() {
    this.#guard();
  }

  /** New words, holding `values` if given, else the guard's pattern. */
  words(count: number): Uint32Array {
    const bytes = 4 * (count + GUARD_WORDS);
    if (this.#next + bytes > this.memory.buffer.byteLength) growMemory(this.memory, Math.ceil(bytes / PAGE_BYTES) + 1);
    const words = new Uint32Array(this.memory.buffer, this.#next, count).fill(GUARD);
    this.#next += 4 * count;
    this.#guard();
    return words;
  }
  floats(count: number): Float32Array {
    const words = this.words(count);
    return new Float32Array(words.buffer, words.byteOffset, count);
  }
  random(count: number, random: Random): Float32Array {
    const floats = this.floats(count);
    for (let i = 0; i < count; i++) floats[i] = random.normal();
    return floats;
  }
  /** What optimizer state looks like: sums of squares. */
  squares(count: number, random: Random): Float32Array {
    const floats = this.random(count, random);
    for (let i = 0; i < count; i++) floats[i] **= 2;
    return floats;
  }
  indices(values: number[]): Uint32Array {
    const words = this.words(values.length);
    words.set(values);
    return words;
  }
  header(fields: { samples?: number; lookups?: number; distinct?: number; rate?: number }): Uint32Array {
    const words = this.words(HEADER_WORDS).fill(0);
    words[Header.samples] = fields.samples ?? 0;
    words[Header.lookups] = fields.lookups ?? 0;
    words[Header.distinct] = fields.distinct ?? 0;
    writeSteps(new Float32Array(words.buffer, words.byteOffset), fields.rate ?? 0);
    return words;
  }
  scratch(bytes: number): Address {
    return at(this.words(Math.ceil(bytes / 4)));
  }
  gemmScratch(): Address {
    return this.scratch(this.kernels.gemmScratchBytes());
  }
  /** Fails if a kernel wrote outside its operands. */
  check(): void {
    for (const at of this.#guards) {
      const guard = new Uint32Array(this.memory.buffer, at, GUARD_WORDS);
      assert.ok(guard.every((word) => word === GUARD), `words written outside an operand, near byte ${at}`);
    }
  }
  #guard(): void {
    new Uint32Array(this.memory.buffer, this.#next, GUARD_WORDS).fill(GUARD);
    this.#guards.push(this.#next);
    this.#next += 4 * GUARD_WORDS;
  }
}

/** The address of an operand. */
export const at = (operand: Float32Array | Uint32Array): Address => BigInt(operand.byteOffset);

/** What kernels are compared with. */
export const reference = new ReferenceBackend();

/** A buffer of the reference backend with a copy of the operand. */
export function copyOf(operand: Float32Array | Uint32Array): Buffer {
  return reference.wrap(operand.slice());
}
