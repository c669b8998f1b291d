/** A trained model in memory that scores rows at once. */
import { cpuOptions, openHost } from "../backend/open.ts";
import type { DatasetEncoding } from "../dataset/dataset_encoding.ts";
import { type EncodedRows, type Row, RowEncoder } from "../dataset/row_encoder.ts";
import type { UnknownShare } from "../dataset/unknown_values.ts";
import { HotsetError } from "../errors.ts";
import { probabilityOf } from "../loop/evaluate.ts";
import { UsableRun } from "../run/packed_run.ts";
import { openTrainedOn, withBest } from "../run/trained_run.ts";
import { Scorer } from "./scorer.ts";

/** Properties of a model. */
export interface ModelFacts {
  /** Directory of its run, or file of the packed run. */
  readonly path: string;
  /** Identifies its best checkpoint: another checkpoint has another id. */
  readonly checkpoint: string;
  /** Number of its training steps. */
  readonly step: number;
  /** Names of the columns that a row must have. */
  readonly columns: readonly string[];
  /** Number of embedding rows of each table, by name. */
  readonly tables: Readonly<Record<string, number>>;
  /** Names of the dense features of a sample. */
  readonly dense: readonly string[];
}

/**
 * A trained model. Its parameters, its dictionary and, unless `rowMemory` limits them, its tables are in this
 * process's memory. It scores on the calling thread, with the same bits as `predict --blas wasm`. Dispose of it when it
 * is no longer needed.
 */
export class ScoringModel implements Disposable {
  /** Properties of the model. */
  readonly facts: ModelFacts;
  readonly #dataset: DatasetEncoding;
  readonly #encoder: RowEncoder;
  readonly #weightedLookups: boolean;
  #scorer: Scorer | undefined;

  /** Use `openModel`. @internal */
  constructor(facts: ModelFacts, dataset: DatasetEncoding, encoder: RowEncoder, scorer: Scorer) {
    this.facts = facts;
    this.#dataset = dataset;
    this.#weightedLookups = dataset.weightedLookups;
    this.#encoder = encoder;
    this.#scorer = scorer;
  }

  /**
   * Click probabilities of rows, 0 to 1, in their order. A row has a value for each of the model's columns: text as a CSV
   * field holds it, a number, true or false; null, undefined or an empty text where there is none; a list for a bag. Values
   * that the dictionary does not know are treated as by predict. Of `rows[begin .. end)` where these are given. Throws
   * HotsetError that names row and column.
   */
  score(rows: readonly Row[], begin = 0, end: number = rows.length): Float32Array {
    const scorer = this.#opened();
    if (!(Number.isInteger(begin) && Number.isInteger(end) && begin >= 0 && begin <= end && end <= rows.length)) {
      throw new HotsetError(`Cannot score rows ${begin} to ${end} of ${rows.length}`);
    }
    const probabilities = new Float32Array(end - begin);
    for (let first = begin; first < end; first += scorer.capacity) {
      const count = Math.min(scorer.capacity, end - first);
      fill(probabilities, first - begin, scorer.logits(this.#encoder.encode(rows, first, count), first));
    }
    return probabilities;
  }

  /**
   * Probabilities of up to 256 encoded samples, as a dataset's reader returns them: `dense` (count, features)
   * transformed, `indices` global rows by (sample, table), and for a model with bags `offsets` (count * tables + 1),
   * where bag b begins at lookup `offsets[b]`, and `lookupWeights`, one for each index, if lookups have weights. For a
   * model with steps `dense` is (count, steps, features), and `indices` are by (sample, step, table). Fills
   * `probabilities` and allocates nothing. Throws HotsetError if sizes do not match or an index is outside its table.
   */
  scoreEncoded(samples: EncodedRows, probabilities: Float32Array): void {
    const scorer = this.#opened();
    const fault = this.#faultOf(samples, probabilities, scorer.capacity);
    if (fault !== undefined) throw new HotsetError(`Cannot score samples: ${fault}`, { code: "bad-row" });
    fill(probabilities, 0, scorer.logits(samples, 0));
  }

  /** Share of the lookups of `score` so far with a value that has no row of its own, by table. */
  get unknownShare(): UnknownShare {
    return this.#encoder.unknownShare;
  }

  #opened(): Scorer {
    if (this.#scorer !== undefined) return this.#scorer;
    throw new HotsetError(`Cannot score with ${this.facts.path}: the model has been closed`);
  }

  #faultOf(
    { count, dense, indices, lookupWeights, offsets }: EncodedRows,
    probabilities: Float32Array,
    most: number,
  ): string | undefined {
    const { tables, firstRows, bagsOfSample, denseOfSample, body } = this.#dataset;
    const bags = count * bagsOfSample;
    if (!(Number.isInteger(count) && count >= 0 && count <= most)) return `${count} of them, not 0 to ${most}`;
    if (probabilities.length < count) return `there is room for ${probabilities.length} probabilities of ${count}`;
    const features = count * denseOfSample;
    if (dense.length !== features) return `dense has ${dense.length} values instead of ${features}`;
    if (body.bags !== (offsets !== undefined)) {
      return `offsets are ${body.bags ? "missing" : "not for a model without bags"}`;
    }
    if (
      offsets !== undefined && (offsets.length !== bags + 1 || offsets[0] !== 0 || offsets[bags] !== indices.length)
    ) {
      return `offsets must be ${bags + 1} numbers from 0 to the number of indices`;
    }
    if (offsets === undefined && indices.length !== bags) {
      return `there are ${indices.length} indices instead of ${bags}`;
    }
    if (this.#weightedLookups !== (lookupWeights !== undefined)) {
      return `lookupWeights are ${this.#weightedLookups ? "missing" : "not for a model without weights of lookups"}`;
    }
    if (lookupWeights !== undefined && lookupWeights.length !== indices.length) {
      return `there are ${lookupWeights.length} lookupWeights for ${indices.length} indices`;
    }
    const wrong = lookupWeights?.findIndex((weight) => !Number.isFinite(weight)) ?? -1;
    if (wrong >= 0) return `the weight of index ${wrong} is ${lookupWeights![wrong]}`;
    for (let d = 0; d < features; d++) if (!Number.isFinite(dense[d])) return `dense value ${d} is ${dense[d]}`;
    for (let bag = 0, table = 0, k = 0; bag < bags; bag++) {
      const end = offsets === undefined ? bag + 1 : offsets[bag + 1];
      if (end < k || end > indices.length) return `the offset of bag ${bag + 1} is ${end}`;
      for (; k < end; k++) {
        if (indices[k] >= firstRows[table] && indices[k] < firstRows[table + 1]) continue;
        return `index ${k} is ${indices[k]}, outside the rows of table ${table}`;
      }
      if (++table === tables) table = 0;
    }
    return undefined;
  }

  /** Frees the model's memory, and closes its files. */
  [Symbol.dispose](): void {
    this.#scorer?.[Symbol.dispose]();
    this.#scorer = undefined;
  }
}

function fill(probabilities: Float32Array, first: number, logits: Float32Array): void {
  for (let i = 0; i < logits.length; i++) probabilities[first + i] = probabilityOf(logits[i]);
}

/** Options for opening a model. */
export interface OpenModelOptions {
  /**
   * Bytes of memory that keep embedding rows, at least one row. Other rows are read from the checkpoint when they are
   * looked up, with the same bits. Default: all rows are in memory.
   */
  readonly rowMemory?: number | undefined;
}

/**
 * Loads the best checkpoint of a run, with the dictionary of its data, to score rows in memory. Throws HotsetError if
 * it cannot be read, or if a column's format can be read only from files.
 */
export async function openModel(path: string, options: OpenModelOptions = {}): Promise<ScoringModel> {
  return (await openOther(path, undefined, options))!;
}

/** The same; undefined if the best checkpoint is `known`. @internal */
export async function openOther(
  path: string,
  known: string | undefined,
  { rowMemory }: OpenModelOptions,
): Promise<ScoringModel | undefined> {
  using opened = await UsableRun.open(path);
  const run = opened.directory;
  const dataset = await openTrainedOn(run, "score with");
  const encoder = await RowEncoder.load(dataset);
  // The WASM kernels compute the same bits for a sample alone and among others. The bits of most libraries depend on
  // the number of samples, and they are slower for a single one.
  const host = await openHost(await cpuOptions("wasm"));
  const { tables, dense } = dataset.body;
  return await withBest(run, dataset, async (checkpoint) => {
    if (checkpoint.id === known) return undefined;
    const facts: ModelFacts = {
      path,
      checkpoint: checkpoint.id,
      step: checkpoint.body.state.step,
      columns: encoder.columns,
      tables: Object.fromEntries(tables.map(({ name, rows }) => [name, rows])),
      dense,
    };
    const scorer = await Scorer.load(host, checkpoint, dataset.body.bags, rowMemory);
    return new ScoringModel(facts, dataset, encoder, scorer);
  });
}
