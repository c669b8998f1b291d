/** Small Dataset artifacts for tests: from plain arrays, or drawn at random with skewed accesses. */
import { ArtifactWriter } from "../../src/storage/artifact_writer.ts";
import { COUNTS_FILE, Dataset, type DatasetBody, type Split, splitFiles, SPLITS } from "../../src/dataset/dataset.ts";
import { Random } from "../../src/random.ts";

/** The samples of one split; ids are counted within their table, by (sample, table). */
export interface PlainSplit {
  labels: Uint8Array;
  /** (samples, dense features). */
  dense: Float32Array;
  ids: Uint32Array;
  /** (samples, tables): lookups of each bag, for datasets with bags. */
  bagLengths?: Uint32Array;
  /** Weight of each lookup. */
  weights?: Float32Array;
}

/** Content of a dataset. */
export interface PlainDataset {
  tableRows: number[];
  denseFeatures: number;
  splits: Partial<Record<Split, PlainSplit>>;
}

/** Options of `tinyDataset`. */
export interface TinyOptions {
  samples: { train: number; validation: number; test: number };
  tableRows: number[];
  denseFeatures: number;
  /** True: every (sample, table) pair has 0 to 4 lookups, else exactly one. */
  bags: boolean;
  seed: number;
  /** Ids are `floor(rows * u ** skew)` of a uniform u: 1 is no skew, 4 sends 56 % of the lookups to 10 % of the rows. */
  skew: number;
  /** Draws the weight of a lookup; without it lookups have none. */
  weight?: (random: Random) => number;
}

/** Writes plain arrays as a dataset (bags if any split has bag lengths) and opens it. */
export function writeDataset(directory: string, { tableRows, denseFeatures, splits }: PlainDataset): Dataset {
  const tables = tableRows.length;
  const firstRows = new Array<number>(tables).fill(0);
  for (let t = 1; t < tables; t++) firstRows[t] = firstRows[t - 1] + tableRows[t - 1];
  const bags = SPLITS.some((split) => splits[split]?.bagLengths !== undefined);
  const weighted = SPLITS.some((split) => splits[split]?.weights !== undefined);
  const counts = new Uint32Array(firstRows[tables - 1] + tableRows[tables - 1]);
  const sizes = {} as DatasetBody["splits"];
  using writer = new ArtifactWriter("dataset", directory);
  for (const split of SPLITS) {
    const none = { labels: new Uint8Array(0), dense: new Float32Array(0), ids: new Uint32Array(0) };
    const { labels, dense, ids, bagLengths, weights }: PlainSplit = splits[split] ?? none;
    const lengths = bagLengths ?? new Uint32Array(labels.length * tables).fill(1);
    const indices = new Uint32Array(ids.length);
    const firstLookups = new Float64Array(labels.length + 1);
    let k = 0;
    for (let bag = 0; bag < lengths.length; bag++) {
      for (const end = k + lengths[bag]; k < end; k++) {
        indices[k] = firstRows[bag % tables] + ids[k];
        if (split === "train") counts[indices[k]]++;
      }
      if (bag % tables === tables - 1) firstLookups[(bag + 1) / tables] = k;
    }
    const files = splitFiles(split);
    writer.file(files.labels).append(labels);
    writer.file(files.dense).append(dense);
    writer.file(files.indices).append(indices);
    if (bags) {
      writer.file(files.bagLengths).append(lengths);
      writer.file(files.firstLookups).append(firstLookups);
    }
    if (weighted) writer.file(files.lookupWeights).append(weights ?? new Float32Array(0));
    sizes[split] = { samples: labels.length, lookups: ids.length };
  }
  writer.file(COUNTS_FILE).append(counts);
  const body: DatasetBody = {
    source: { format: "test" },
    dense: Array.from({ length: denseFeatures }, (_, i) => `I${i + 1}`),
    tables: tableRows.map((rows, t) => ({ name: `C${t + 1}`, rows, ...(weighted && { weights: `W${t + 1}` }) })),
    bags,
    splits: sizes,
    skippedRows: 0,
    generated: null,
  };
  writer.commit(body);
  return Dataset.open(directory);
}

/**
 * Draws a dataset: skewed ids (by falling frequency), dense values in [0, 3), and labels that depend on both, so that
 * a model can learn them. Same options, same bytes.
 */
export function tinyDataset(directory: string, options: TinyOptions): Dataset {
  const { samples, tableRows, denseFeatures } = options;
  const splits: PlainDataset["splits"] = {};
  SPLITS.forEach((split, number) => {
    const drawn = splits[split] = drawSplit(samples[split], options, new Random(options.seed, number));
    const random = new Random(options.seed, SPLITS.length + number);
    const { weight } = options;
    if (weight !== undefined) drawn.weights = Float32Array.from(drawn.ids, () => weight(random));
  });
  return writeDataset(directory, { tableRows, denseFeatures, splits });
}

function drawSplit(samples: number, { tableRows, denseFeatures, bags, skew }: TinyOptions, random: Random): PlainSplit {
  const tables = tableRows.length;
  const labels = new Uint8Array(samples);
  const dense = new Float32Array(samples * denseFeatures);
  const bagLengths = new Uint32Array(samples * tables).fill(1);
  if (bags) { for (let bag = 0; bag < bagLengths.length; bag++) bagLengths[bag] = random.below(5); }
  const ids = new Uint32Array(bagLengths.reduce((sum, length) => sum + length, 0));
  let k = 0;
  for (let i = 0; i < samples; i++) {
    let logit = -1;
    for (let d = 0; d < denseFeatures; d++) {
      const value = dense[i * denseFeatures + d] = 3 * random.uniform();
      logit += (d % 2 === 0 ? 1 : -1) * (value - 1.5) / Math.sqrt(denseFeatures);
    }
    for (let t = 0; t < tables; t++) {
      for (const end = k + bagLengths[i * tables + t]; k < end; k++) {
        ids[k] = Math.floor(tableRows[t] * random.uniform() ** skew);
        // Any fixed function of the ids with values in [-1, 1) can be the weights of the planted model.
        logit += ((Math.imul(ids[k] + 1, 0x9e3779b1) >>> 0) / 2 ** 31 - 1) / Math.sqrt(tables);
      }
    }
    labels[i] = random.uniform() < 1 / (1 + Math.exp(-logit)) ? 1 : 0;
  }
  return bags ? { labels, dense, ids, bagLengths } : { labels, dense, ids };
}
