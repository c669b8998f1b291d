/** Operands of a backend's operations with guard words around them, and batches for updates of rows. */
import { OPTIMIZER_NAMES, writeStep } from "../../src/optimizer/optimizers.ts";
import assert from "node:assert/strict";
import { type Backend, type Buffer, Header, HEADER_WORDS } from "../../src/backend/backend.ts";
import { Batch } from "../../src/layout/batch.ts";
import { SegmentSorter } from "../../src/layout/segment_sorter.ts";
import type { Random } from "../../src/random.ts";

export type Words = Float32Array | Uint32Array;

/** An operand of an operation under test. */
export interface Operand {
  readonly values: Words;
  /** Words before it in its buffer, which must stay as they are. Parameters lie at multiples of 4, batches anywhere. */
  readonly offset: number;
  /** Embedding rows or their state. */
  readonly table: boolean;
}

const GUARD = 0x7fc0beef; // a NaN, so that what leaks in or is not overwritten shows
const GUARD_WORDS = 20;
/** A power of two, which multiplies the smallest numbers exactly. */
export const LEARNING_RATE = 1 / 16;

export function operand(values: Words): Operand {
  return { values, offset: GUARD_WORDS, table: false };
}

/** A section of a batch: may begin at any word. */
export function section(values: Words): Operand {
  return { values, offset: GUARD_WORDS + 1, table: false };
}

export function rows(values: Words): Operand {
  return { values, offset: GUARD_WORDS, table: true };
}

/** Words that the operation must overwrite. */
export function output(words: number): Operand {
  return operand(new Float32Array(new Uint32Array(words).fill(GUARD).buffer));
}

export function normals(words: number, random: Random): Float32Array {
  return Float32Array.from({ length: words }, () => random.normal());
}

export function squares(words: number, random: Random): Float32Array {
  return normals(words, random).map((x) => x * x);
}

export function header(samples: number, lookups = 0, distinct = 0): Operand {
  const words = new Uint32Array(HEADER_WORDS);
  words.set([samples, lookups, distinct]);
  writeSteps(new Float32Array(words.buffer));
  return operand(words);
}

/** Runs an operation on a backend; returns what its operands hold afterwards. Fails unless the words beside them are whole. */
export function apply<Name extends string>(
  backend: Backend,
  operands: Record<Name, Operand>,
  run: (backend: Backend, buffers: Record<Name, Buffer>) => void,
  what: string,
): Record<Name, Words> {
  const names = Object.keys(operands) as Name[];
  const whole = {} as Record<Name, Buffer>;
  const buffers = {} as Record<Name, Buffer>;
  for (const name of names) {
    const { values, offset, table } = operands[name];
    const words = new Uint32Array(offset + values.length + GUARD_WORDS).fill(GUARD);
    words.set(new Uint32Array(values.buffer, values.byteOffset, values.length), offset);
    whole[name] = table ? backend.allocateTable(words.length, name) : backend.allocate(words.length, name);
    backend.upload(words, whole[name]);
    buffers[name] = backend.view(whole[name], offset, values.length);
  }
  run(backend, buffers);
  const results = {} as Record<Name, Words>;
  for (const name of names) {
    const { values, offset } = operands[name];
    const words = new Uint32Array(whole[name].words);
    backend.download(whole[name], words);
    const end = offset + values.length;
    const guards = [...words.subarray(0, offset), ...words.subarray(end)];
    assert.ok(guards.every((word) => word === GUARD), `words beside ${name} of ${what} are untouched`);
    const result = words.slice(offset, end);
    results[name] = values instanceof Uint32Array ? result : new Float32Array(result.buffer);
  }
  backend.synchronize();
  return results;
}

/** Writes what the kernels of every optimizer read of a step into a header. */
export function writeSteps(header: Float32Array, learningRate = LEARNING_RATE): void {
  for (const optimizer of OPTIMIZER_NAMES) writeStep(optimizer, header, learningRate, 3, 0.05);
}

/** A batch with bags whose rows are drawn by `row`; only its sparse sections are filled. */
export function sparseBatch(bagLengths: number[], tables: number, row: (lookup: number) => number): Batch {
  const lookups = bagLengths.reduce((sum, length) => sum + length, 0);
  const samples = bagLengths.length / tables;
  const shape = { batchSize: samples, denseFeatures: 0, tables, bags: true, lookupCapacity: lookups };
  const batch = new Batch(shape);
  const { words, sections } = batch;
  words[Header.samples] = samples;
  words[Header.lookups] = lookups;
  writeSteps(batch.floats);
  bagLengths.forEach((length, bag) => words[sections.offsets + bag + 1] = words[sections.offsets + bag] + length);
  for (let k = 0; k < lookups; k++) words[sections.indices + k] = row(k);
  new SegmentSorter(shape).write(batch);
  return batch;
}
