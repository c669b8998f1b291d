/** Runs an operation on a backend and on the reference backend with equal operands. */
import assert from "node:assert/strict";
import type { Backend, Buffer } from "../../src/backend/backend.ts";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { assertClose } from "../support/close.ts";
import { apply, type Operand } from "./operands.ts";

/** A backend beside the reference. */
export class Pair {
  readonly #backend: Backend;
  readonly #reference = new ReferenceBackend();
  readonly #tolerance: number;

  constructor(backend: Backend, tolerance: number) {
    this.#backend = backend;
    this.#tolerance = tolerance;
  }

  /** Runs an operation on both with equal operands; fails unless all operands are equal afterwards and guards whole. */
  check<Name extends string>(
    what: string,
    operands: Record<Name, Operand>,
    run: (backend: Backend, buffers: Record<Name, Buffer>) => void,
  ): void {
    const expected = apply(this.#reference, operands, run, what);
    const actual = apply(this.#backend, operands, run, what);
    for (const name of Object.keys(operands) as Name[]) {
      const message = `${name} of ${what}`;
      if (operands[name].values instanceof Uint32Array) assert.deepEqual(actual[name], expected[name], message);
      else assertClose(actual[name], expected[name], this.#tolerance, message);
    }
  }
}

/** Registers a test of a backend. */
export type Register = (what: string, body: (pair: Pair, backend: Backend) => void) => void;
