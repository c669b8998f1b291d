/**
 * The last step of preparing: samples and the ids of their tables, stored by column, become the flat arrays of a
 * dataset.
 */
import { breaks } from "../breaks.ts";
import { FileReader } from "../storage/artifact.ts";
import { ownPart, type ProcessGroup, together, togetherAsync } from "../parallel/process_group.ts";
import type { GroupWriter } from "../storage/group_writer.ts";
import { type DatasetBody, type Split, SPLITS } from "./dataset.ts";
import type { SplitPart } from "./splits.ts";
import { type SplitArrays, SplitWriter } from "./split_writer.ts";
import type { StagedLog } from "./staged_log.ts";
import { denseAt, readWords } from "./staged_chunk.ts";

/** Samples that are assembled at a time, few enough for their indices to stay in the cache. */
const CHUNK_SAMPLES = 4096;

/** A staged log whose tables have been encoded. */
export interface EncodedLog {
  readonly log: StagedLog;
  readonly parts: readonly SplitPart[];
  /** Files of each table: ids (lookups), with bags lengths (rows), and weights (lookups) where not all are 1. */
  readonly tables: readonly {
    readonly ids: string;
    readonly lengths: string | undefined;
    readonly weights: string | undefined;
  }[];
}

/**
 * Writes the files of all splits. `firstRows` are the first global rows of the tables. Each rank of a group writes a
 * consecutive range of rows of all logs; with several ranks there must be no bags. Returns the sizes of the splits.
 */
export async function assemble(
  writer: GroupWriter,
  logs: readonly EncodedLog[],
  denseFeatures: number,
  firstRows: readonly number[],
  group: ProcessGroup,
  onProgress: (fraction: number) => void,
): Promise<DatasetBody["splits"]> {
  const bags = logs.some(({ tables }) => tables.some(({ lengths }) => lengths !== undefined));
  const weightedLookups = logs.some(({ tables }) => tables.some(({ weights }) => weights !== undefined));
  const names: readonly (keyof SplitArrays)[] = [
    ...["labels", "dense", "indices"] as const,
    ...logs.some(({ log }) => log.groups !== undefined) ? ["groups"] as const : [],
    ...logs.some(({ log }) => log.weights !== undefined) ? ["weights"] as const : [],
    ...weightedLookups ? ["lookupWeights"] as const : [],
  ];
  const splits = new SplitWriter(writer);
  together(group, () => SPLITS.forEach((split) => splits.create(split, names)));
  const share = ownPart(group, logs.reduce((sum, { log }) => sum + log.rows, 0));
  const labels = new Uint8Array(CHUNK_SAMPLES);
  const dense = new Float32Array(CHUNK_SAMPLES * denseFeatures);
  const groupWords = new Uint32Array(2 * CHUNK_SAMPLES);
  const weightWords = new Float32Array(CHUNK_SAMPLES);
  await togetherAsync(group, async () => {
    let logFirst = 0;
    for (const { log, parts, tables } of logs) {
      using groups = log.groups === undefined ? undefined : new FileReader(log.groups);
      using weights = log.weights === undefined ? undefined : new FileReader(log.weights);
      using lookups = new TableColumns(tables, firstRows, Math.max(0, share.first - logFirst));
      let chunkFirst = logFirst;
      for (const { file, rows } of log.chunks) {
        using reader = new FileReader(file);
        const end = Math.min(rows, share.end - chunkFirst);
        for (let from = Math.max(0, share.first - chunkFirst); from < end;) {
          const row = chunkFirst - logFirst + from;
          const { split, left } = partOf(parts, row);
          const count = Math.min(CHUNK_SAMPLES, end - from, left);
          reader.read(from, labels.subarray(0, count));
          splits.write(split, {
            labels: labels.subarray(0, count),
            dense: readWords(reader, denseAt(rows) + 4 * from * denseFeatures, count * denseFeatures, dense),
            ...lookups.next(count, bags),
            groups: groups && readWords(groups, 8 * row, 2 * count, groupWords),
            weights: weights && readWords(weights, 4 * row, count, weightWords),
          });
          from += count;
          if (breaks.due) await breaks.take();
          onProgress((chunkFirst + from - share.first) / (share.end - share.first));
        }
        chunkFirst += rows;
      }
      logFirst += log.rows;
    }
  });
  if (bags) together(group, () => SPLITS.forEach((split) => splits.endBags(split)));
  return addSizes(group.gather(splits.sizes));
}

/** The split of a row of a log, and the number of rows of that split from there on. */
function partOf(parts: readonly SplitPart[], row: number): { split: Split; left: number } {
  let end = 0;
  for (const { split, samples } of parts) {
    end += samples;
    if (row < end) return { split, left: end - row };
  }
  throw new RangeError(`row ${row} of a log is in no split`);
}

function addSizes(sizes: readonly DatasetBody["splits"][]): DatasetBody["splits"] {
  const [sum, ...others] = sizes;
  for (const split of SPLITS) {
    for (const other of others) {
      sum[split].samples += other[split].samples;
      sum[split].lookups += other[split].lookups;
    }
  }
  return sum;
}

/** Global rows of consecutive samples, by (sample, table). */
type EncodedChunk = Pick<SplitArrays, "indices" | "firstLookups" | "bagLengths" | "lookupWeights">;

/** Reads the columns of all tables in parallel positions. */
class TableColumns implements Disposable {
  readonly #columns: readonly {
    readonly ids: FileReader;
    readonly lengths: FileReader | undefined;
    readonly weights: FileReader | undefined;
  }[];
  readonly #firstRows: readonly number[];
  /** Samples read so far and, by table, lookups. */
  #samples: number;
  readonly #lookups: number[];
  #column = new Uint32Array(CHUNK_SAMPLES);
  readonly #indices: Uint32Array;

  /** Begins at sample `first`, which must be 0 if a table has bags. */
  constructor(tables: EncodedLog["tables"], firstRows: readonly number[], first: number) {
    this.#samples = first;
    const open = (path: string | undefined) => path === undefined ? undefined : new FileReader(path);
    this.#columns = tables.map(({ ids, lengths, weights }) => ({
      ids: new FileReader(ids),
      lengths: open(lengths),
      weights: open(weights),
    }));
    this.#firstRows = firstRows;
    this.#lookups = tables.map(() => 0);
    this.#indices = new Uint32Array(CHUNK_SAMPLES * tables.length);
  }

  next(samples: number, bags: boolean): EncodedChunk {
    const chunk = bags ? this.#nextBags(samples) : { indices: this.#nextRows(samples) };
    this.#samples += samples;
    return chunk;
  }

  #nextRows(samples: number): Uint32Array {
    const tables = this.#columns.length;
    const indices = this.#indices.subarray(0, samples * tables);
    for (let t = 0; t < tables; t++) {
      const ids = readWords(this.#columns[t].ids, 4 * this.#samples, samples, this.#column);
      const firstRow = this.#firstRows[t];
      for (let i = 0, o = t; i < samples; i++, o += tables) indices[o] = firstRow + ids[i];
    }
    return indices;
  }

  #nextBags(samples: number): EncodedChunk {
    const tables = this.#columns.length;
    const lengths = new Uint32Array(samples * tables).fill(1);
    for (const [t, column] of this.#columns.entries()) {
      if (column.lengths === undefined) continue;
      const found = readWords(column.lengths, 4 * this.#samples, samples, this.#column);
      for (let i = 0; i < samples; i++) lengths[i * tables + t] = found[i];
    }
    const firsts = new Uint32Array(samples * tables + 1);
    for (let bag = 0; bag < lengths.length; bag++) firsts[bag + 1] = firsts[bag] + lengths[bag];
    const indices = new Uint32Array(firsts[lengths.length]);
    const hasWeights = this.#columns.some(({ weights }) => weights !== undefined);
    const weights = hasWeights ? new Float32Array(indices.length).fill(1) : undefined;
    for (const [t, column] of this.#columns.entries()) {
      let count = 0;
      for (let i = 0; i < samples; i++) count += lengths[i * tables + t];
      if (count > this.#column.length) this.#column = new Uint32Array(2 * count);
      const found = readWords(column.ids, 4 * this.#lookups[t], count, this.#column);
      for (let i = 0, k = 0; i < samples; i++) {
        const bag = i * tables + t;
        for (let o = firsts[bag]; o < firsts[bag + 1]; o++) indices[o] = this.#firstRows[t] + found[k++];
      }
      if (column.weights !== undefined) {
        const found = readWords(column.weights, 4 * this.#lookups[t], count, new Float32Array(count));
        for (let i = 0, k = 0; i < samples; i++) {
          const bag = i * tables + t;
          for (let o = firsts[bag]; o < firsts[bag + 1]; o++) weights![o] = found[k++];
        }
      }
      this.#lookups[t] += count;
    }
    const firstLookups = Uint32Array.from({ length: samples }, (_, i) => firsts[i * tables]);
    return { indices, firstLookups, bagLengths: lengths, lookupWeights: weights };
  }

  [Symbol.dispose](): void {
    for (const { ids, lengths, weights } of this.#columns) {
      ids[Symbol.dispose]();
      lengths?.[Symbol.dispose]();
      weights?.[Symbol.dispose]();
    }
  }
}
