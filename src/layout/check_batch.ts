/** Validates everything that a training step relies on in a batch from a file. */
import { Header } from "../backend/backend.ts";
import type { Batch } from "./batch.ts";

/** Exponent bits of an f32, all set in infinities and NaN. */
const EXPONENT = 0x7f800000;

/**
 * Returns what is wrong with the values of an unpacked batch, or undefined. Checks the hot flag, labels, dense values,
 * weights of lookups, and the rows of the segments: below `rowLimit` and ascending.
 */
export function findBatchFault(batch: Batch, hot: boolean, rowLimit: number): string | undefined {
  const { words } = batch;
  if (words[Header.hot] !== (hot ? 1 : 0)) return `the hot flag is ${words[Header.hot]}`;
  return sampleFault(batch) ?? rowFault(batch, rowLimit);
}

function sampleFault({ shape, sections, words, floats, samples, lookupWeights }: Batch): string | undefined {
  for (let i = 0; i < samples; i++) {
    const label = floats[sections.labels + i];
    if (shape.weighted) {
      if (label === 0 || !Number.isFinite(label)) return `weight ${label} of sample ${i} is not a number above 0`;
    } else if (label !== 0 && label !== 1) return `label ${label} of sample ${i} is neither 0 nor 1`;
  }
  const { dense } = sections;
  for (let i = dense, end = dense + samples * shape.denseFeatures; i < end; i++) {
    if ((words[i] & EXPONENT) !== EXPONENT) continue;
    return `dense value ${floats[i]} in sample ${Math.floor((i - dense) / shape.denseFeatures)}`;
  }
  const lookup = lookupWeights?.findIndex((weight) => !Number.isFinite(weight)) ?? -1;
  return lookup < 0 ? undefined : `weight ${lookupWeights![lookup]} of lookup ${lookup}`;
}

function rowFault(batch: Batch, rowLimit: number): string | undefined {
  const { sections: { segments }, words, distinct } = batch;
  for (let s = 0, nextRow = 0; s < distinct; s++) {
    const row = words[segments + 2 * s];
    if (row < nextRow || row >= rowLimit) return `row ${row} of segment ${s} is out of order or not below ${rowLimit}`;
    nextRow = row + 1;
  }
  return undefined;
}
