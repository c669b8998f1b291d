/** Checks everything that a training step relies on in a batch that comes from a file. */
import { Header } from "../backend/backend.ts";
import { type Batch, SEGMENTS_END } from "./batch.ts";

/**
 * Returns what is wrong with a batch, or undefined. Checked are the header's numbers against the block, labels, dense
 * values, every index and segment row against `rowLimit`, the order of offsets and segments, and every segment's bags.
 */
export function findBatchFault(batch: Batch, hot: boolean, usedWords: number, rowLimit: number): string | undefined {
  return headerFault(batch, hot, usedWords) ?? sampleFault(batch) ?? lookupFault(batch, rowLimit) ??
    segmentFault(batch, rowLimit);
}

function headerFault(batch: Batch, hot: boolean, usedWords: number): string | undefined {
  const { shape, words, samples, lookups, distinct } = batch;
  if (samples === 0 || samples > shape.batchSize) return `${samples} samples in a batch of ${shape.batchSize}`;
  if (lookups > shape.lookupCapacity) return `${lookups} lookups where ${shape.lookupCapacity} is the most`;
  if (!shape.bags && lookups !== samples * shape.tables) return `${lookups} lookups for ${samples} samples`;
  if (distinct > lookups) return `${distinct} distinct rows of ${lookups} lookups`;
  if (words[Header.hot] !== (hot ? 1 : 0)) return `the hot flag is ${words[Header.hot]}`;
  if (batch.usedWords !== usedWords) return `${batch.usedWords} words in a record of ${usedWords}`;
  return undefined;
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

function lookupFault({ shape, sections, words, samples, lookups }: Batch, rowLimit: number): string | undefined {
  for (let k = 0; k < lookups; k++) {
    const row = words[sections.indices + k];
    if (row >= rowLimit) return `index ${row} of lookup ${k} is not below ${rowLimit}`;
  }
  if (!shape.bags) return undefined;
  const end = samples * shape.tables;
  let previous = 0;
  for (let bag = 0; bag <= end; bag++) {
    const offset = words[sections.offsets + bag];
    if (offset < previous || (bag === 0 && offset !== 0)) return `offset ${offset} of bag ${bag} is out of order`;
    previous = offset;
  }
  return previous === lookups ? undefined : `the offsets end at ${previous} instead of ${lookups}`;
}

function segmentFault(batch: Batch, rowLimit: number): string | undefined {
  const { shape, sections, words, samples, lookups, distinct } = batch;
  const bags = samples * shape.tables;
  for (let k = 0; k < lookups; k++) {
    const bag = words[sections.segmentBags + k];
    if (bag >= bags) return `segment bag ${bag} is not below ${bags}`;
  }
  for (let s = 0, nextRow = 0, nextBegin = 0; s < distinct; s++) {
    const row = words[sections.segments + 2 * s];
    const begin = words[sections.segments + 2 * s + 1];
    if (row < nextRow || row >= rowLimit) return `row ${row} of segment ${s} is out of order or not below ${rowLimit}`;
    if (s === 0 ? begin !== 0 : begin < nextBegin) return `begin ${begin} of segment ${s} is out of order`;
    nextRow = row + 1;
    nextBegin = begin + 1;
    if (begin >= lookups) return `begin ${begin} of segment ${s} is not below ${lookups}`;
  }
  const end = sections.segments + 2 * distinct;
  if (words[end] !== SEGMENTS_END || words[end + 1] !== lookups) return "the segment list has no end";
  return distinct === 0 && lookups > 0 ? `no segments for ${lookups} lookups` : undefined;
}
