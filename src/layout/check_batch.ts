/** Checks everything that a training step relies on in a batch that comes from a file. */
import { Header } from "../backend/backend.ts";
import type { Batch } from "./batch.ts";

/**
 * Returns what is wrong with the values of an unpacked batch, or undefined: the hot flag, labels, dense values, every
 * index, and the rows of the segments against `rowLimit` and in their order.
 */
export function findBatchFault(batch: Batch, hot: boolean, rowLimit: number): string | undefined {
  const { words } = batch;
  if (words[Header.hot] !== (hot ? 1 : 0)) return `the hot flag is ${words[Header.hot]}`;
  return sampleFault(batch) ?? rowFault(batch, rowLimit);
}

function sampleFault({ shape, sections, floats, samples }: Batch): string | undefined {
  for (let i = 0; i < samples; i++) {
    const label = floats[sections.labels + i];
    if (label !== 0 && label !== 1) return `label ${label} of sample ${i} is neither 0 nor 1`;
  }
  for (let i = 0; i < samples * shape.denseFeatures; i++) {
    const value = floats[sections.dense + i];
    if (!Number.isFinite(value)) return `dense value ${value} in sample ${Math.floor(i / shape.denseFeatures)}`;
  }
  return undefined;
}

function rowFault(batch: Batch, rowLimit: number): string | undefined {
  const { sections, words, lookups, distinct } = batch;
  for (let s = 0, nextRow = 0; s < distinct; s++) {
    const row = batch.row(s);
    if (row < nextRow || row >= rowLimit) return `row ${row} of segment ${s} is out of order or not below ${rowLimit}`;
    nextRow = row + 1;
  }
  for (let k = 0; k < lookups; k++) {
    // Indices come from the rows of segments, so that only a lookup in no segment can be outside.
    if (words[sections.indices + k] >= rowLimit) return `lookup ${k} is in no segment`;
  }
  return undefined;
}
