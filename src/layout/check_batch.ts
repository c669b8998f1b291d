/** Validates the values of a batch from a file; its lookups were validated when they were unpacked. */
import { Header } from "../backend/backend.ts";
import type { Batch } from "./batch.ts";

/** Exponent bits of an f32, all set in infinities and NaN. */
const EXPONENT = 0x7f800000;
/** The bits of 1 as an f32. */
const ONE = 0x3f800000;

/**
 * Returns what is wrong with the values of an unpacked batch, or undefined. Checks the hot flag, labels, dense values and
 * weights of lookups.
 */
export function findBatchFault(batch: Batch, hot: boolean): string | undefined {
  const { words } = batch;
  if (words[Header.hot] !== (hot ? 1 : 0)) return `the hot flag is ${words[Header.hot]}`;
  return sampleFault(batch);
}

function sampleFault({ shape, sections, words, floats, samples, lookupWeights }: Batch): string | undefined {
  for (let i = 0; i < samples; i++) {
    const at = sections.labels + i;
    if (shape.weighted) {
      const weight = floats[at];
      if (weight === 0 || !Number.isFinite(weight)) return `weight ${weight} of sample ${i} is not a number above 0`;
    } else if (words[at] !== 0 && words[at] !== ONE) return `label ${floats[at]} of sample ${i} is neither 0 nor 1`;
  }
  const { dense } = sections;
  for (let i = dense, end = dense + samples * shape.denseFeatures; i < end; i++) {
    if ((words[i] & EXPONENT) !== EXPONENT) continue;
    return `dense value ${floats[i]} in sample ${Math.floor((i - dense) / shape.denseFeatures)}`;
  }
  const lookup = lookupWeights?.findIndex((weight) => !Number.isFinite(weight)) ?? -1;
  return lookup < 0 ? undefined : `weight ${lookupWeights![lookup]} of lookup ${lookup}`;
}
