/** Prepares datasets: raw logs are staged in DuckDB, their values counted and encoded. */
import { availableParallelism } from "node:os";
import { z } from "zod";
import { ArtifactWriter } from "../artifact.ts";
import { HotsetError, UsageError } from "../errors.ts";
import { COUNTS_FILE, Dataset, type DatasetBody, DICTIONARY_FILE, type Split } from "./dataset.ts";
import { countValues, loadDictionaries, restoreDictionaries, saveDictionaries } from "./dictionary.ts";
import { Engine, engineFailure } from "./duckdb.ts";
import { encodeSamples, type Part } from "./encode.ts";
import { type BadRowPolicy, findInputs, stage } from "./raw.ts";
import { CRITEO, isDense, isSparse, type LogSchema, logSchema, readSchema } from "./schema.ts";

/** What reading a log may use and what it reports; the same for all that read logs. */
export interface ReadOptions {
  /** Default fail. */
  readonly onBadRow?: BadRowPolicy;
  /** Bytes of memory to stay under; default 4 GiB. */
  readonly memoryBytes?: number;
  /** Threads that DuckDB uses; default all cores. */
  readonly threads?: number;
  /** Called now and then with what is done of a stage, 0 to 1. */
  readonly onProgress?: (stage: "read" | "count" | "encode", fraction: number) => void;
}

/** How to prepare a dataset. */
export interface PrepareOptions extends ReadOptions {
  /** Files or globs, in the order of time. TSV or CSV, also .gz and .zst; Parquet. */
  readonly inputs: readonly string[];
  /** Further files that become the test split; then `testFraction` must be 0. */
  readonly testInputs?: readonly string[];
  /** criteo: the format of Criteo Kaggle and 1TB; csv: any columns, described by `schema`. */
  readonly format: "criteo" | "csv";
  /** File that describes the columns; needed for csv. */
  readonly schema?: string;
  /** Directory of the dataset. */
  readonly out: string;
  /** Values seen fewer times in the train split share row 0 with unseen ones; default 1. */
  readonly minFrequency?: number;
  /** Categorical values are taken modulo this number first (text: their hash). */
  readonly maxIndRange?: number;
  /** Share of the rows of `inputs` that becomes the validation split, after the train split; default 0.05. */
  readonly validationFraction?: number;
  /** Share of the rows of `inputs` that becomes the test split, at the end; default 0.1, or 0 with `testInputs`. */
  readonly testFraction?: number;
  /** For generated data: the AUC of the true model, to be recorded. */
  readonly generated?: { readonly bestAuc: Partial<Record<Split, number>> };
}

const DEFAULT_MEMORY_BYTES = 4 * 2 ** 30;
/** DuckDB's share of the memory, and that of the dictionaries; the rest is for buffers and the runtime. */
const ENGINE_MEMORY_SHARE = 0.5;
const DICTIONARY_MEMORY_SHARE = 0.4;
const DEFAULT_VALIDATION_FRACTION = 0.05;
const DEFAULT_TEST_FRACTION = 0.1;

/** What a dataset remembers of how its values were encoded. */
const encodingSource = z.object({ schema: logSchema, maxIndRange: z.number().optional() });

function schemaOf({ format, schema }: PrepareOptions): LogSchema {
  if (format === "criteo") {
    if (schema !== undefined) throw new UsageError("Cannot use a schema with format criteo: its columns are fixed");
    return CRITEO;
  }
  if (schema === undefined) {
    throw new UsageError("Cannot read format csv without a schema: name its file with --schema");
  }
  return readSchema(schema);
}

/** Shares of the rows, by order: train, then validation, then test at the end. */
export interface Fractions {
  /** Share of the validation split. */
  readonly validation: number;
  /** Share of the test split. */
  readonly test: number;
}

function fractionsOf(options: PrepareOptions): Fractions {
  const validation = options.validationFraction ?? DEFAULT_VALIDATION_FRACTION;
  const test = options.testFraction ?? (options.testInputs === undefined ? DEFAULT_TEST_FRACTION : 0);
  if (!(validation >= 0 && test >= 0 && validation + test < 1)) {
    throw new UsageError(`Cannot split: validation ${validation} and test ${test} must leave a share for training`);
  }
  if (options.testInputs !== undefined && test > 0) {
    throw new UsageError("Cannot split off a test fraction: the test files are the test split");
  }
  return { validation, test };
}

/** Sizes of the splits of so many rows, in order. */
export function splitSizes(rows: number, fractions: Fractions): Part[] {
  const validation = Math.floor(rows * fractions.validation);
  const test = Math.floor(rows * fractions.test);
  return [
    { split: "train", samples: rows - validation - test },
    { split: "validation", samples: validation },
    { split: "test", samples: test },
  ];
}

/**
 * Names all that a dataset's content depends on: files with lengths and times, schema and options. Equal sources make
 * equal datasets. Cheap: no file is read. Throws HotsetError for missing files.
 */
export function sourceOf(options: PrepareOptions): DatasetBody["source"] {
  return {
    format: options.format,
    schema: schemaOf(options),
    inputs: findInputs(options.inputs),
    testInputs: options.testInputs === undefined ? null : findInputs(options.testInputs),
    minFrequency: options.minFrequency ?? 1,
    ...(options.maxIndRange === undefined ? {} : { maxIndRange: options.maxIndRange }),
    fractions: fractionsOf(options),
    onBadRow: options.onBadRow ?? "fail",
  };
}

/**
 * Reads raw logs and writes a dataset to `options.out`. Peak memory does not depend on the number of rows, but on the
 * number of distinct values (about 15 bytes each). Throws HotsetError that names file, line and reason.
 */
export async function prepareDataset(options: PrepareOptions): Promise<Dataset> {
  const { minFrequency = 1, maxIndRange, onProgress } = options;
  if (!(Number.isInteger(minFrequency) && minFrequency >= 1)) {
    throw new UsageError(`Cannot use a minimum frequency of ${minFrequency}: it must be a whole number from 1`);
  }
  if (maxIndRange !== undefined && !(Number.isInteger(maxIndRange) && maxIndRange >= 1 && maxIndRange <= 2 ** 32 - 1)) {
    throw new UsageError(`Cannot use an index range of ${maxIndRange}: it must be a whole number from 1`);
  }
  const source = sourceOf(options);
  const fractions = fractionsOf(options);
  const schema = schemaOf(options);
  const dense = schema.columns.filter(isDense);
  const columns = schema.columns.filter(isSparse);
  return await withEngine("prepare", options, async (engine, writer) => {
    const inputs = findInputs(options.inputs);
    const testInputs = findInputs(options.testInputs ?? []);
    const bytes = (files: typeof inputs) => files.reduce((sum, f) => sum + f.bytes, 0);
    const inputShare = bytes(inputs) / (bytes(inputs) + bytes(testInputs));
    const reading = { schema, maxIndRange, onBadRow: options.onBadRow ?? "fail" };
    const log = await stage(engine, "log", inputs, {
      ...reading,
      onProgress: (f) => onProgress?.("read", f * inputShare),
    });
    const parts = splitSizes(log.rows, fractions);
    const sources = [{ table: "log", parts }];
    let { skippedRows } = log;
    if (testInputs.length > 0) {
      const test = await stage(engine, "test_log", testInputs, {
        ...reading,
        onProgress: (f) => onProgress?.("read", inputShare + f * (1 - inputShare)),
      });
      sources.push({ table: "test_log", parts: [{ split: "test", samples: test.rows }] });
      skippedRows += test.skippedRows;
    }
    onProgress?.("read", 1);
    for (const [t, column] of columns.entries()) {
      await countValues(engine, t, column, parts[0].samples, minFrequency);
      onProgress?.("count", (t + 1) / columns.length);
    }
    await saveDictionaries(engine, columns, maxIndRange, writer.path(DICTIONARY_FILE));
    const loaded = await loadDictionaries(engine, columns, dictionaryBytes(options));
    const dictionaries = loaded.map((l) => l.dictionary);
    const features = { dense: dense.length, columns };
    const splits = await encodeSamples(engine, writer, sources, features, dictionaries, (f) => {
      onProgress?.("encode", f);
    });
    await writeCounts(engine, writer, loaded.map((l) => l.frequencies), columns, parts[0].samples);
    const body: DatasetBody = {
      source,
      dense: dense.map((c) => c.name),
      tables: columns.map(({ name }, t) => ({ name, rows: dictionaries[t].rows })),
      bags: columns.some((c) => c.kind === "bag"),
      splits,
      skippedRows,
      generated: options.generated ?? null,
    };
    return { body, adopted: [DICTIONARY_FILE], result: undefined };
  }).then(({ dataset }) => dataset);
}

/** How to encode new rows. */
export interface EncodeOptions extends ReadOptions {
  /** Directory of the new dataset. */
  readonly out: string;
}

/**
 * Encodes new rows with the dictionary of an existing dataset, all into the test split of a new one. The label column
 * may be missing: then `labelled` is false and all labels are 0.
 */
export async function encodeWith(
  dataset: Dataset,
  inputs: readonly string[],
  options: EncodeOptions,
): Promise<{ dataset: Dataset; labelled: boolean }> {
  const dictionaryPath = dataset.dictionaryPath;
  const source = encodingSource.safeParse(dataset.body.source);
  if (dictionaryPath === undefined || !source.success) {
    throw new HotsetError(`Cannot encode with dataset ${dataset.directory}: it was not made from raw values`);
  }
  const { schema, maxIndRange } = source.data;
  const columns = schema.columns.filter(isSparse);
  const files = findInputs(inputs);
  const { onProgress } = options;
  const { dataset: encoded, result } = await withEngine("encode", options, async (engine, writer) => {
    const staged = await stage(engine, "log", files, {
      schema,
      maxIndRange,
      onBadRow: options.onBadRow ?? "fail",
      unlabelled: true,
      onProgress: (f) => onProgress?.("read", f),
    });
    await restoreDictionaries(engine, columns, maxIndRange, dictionaryPath);
    const dictionaries = (await loadDictionaries(engine, columns, dictionaryBytes(options))).map((l) => l.dictionary);
    const splits = await encodeSamples(
      engine,
      writer,
      [{ table: "log", parts: [{ split: "test", samples: staged.rows }] }],
      { dense: dataset.denseFeatures, columns },
      dictionaries,
      (f) => onProgress?.("encode", f),
    );
    for (const { rows } of dictionaries) writer.file(COUNTS_FILE).append(new Uint32Array(rows));
    const body: DatasetBody = {
      ...dataset.body,
      source: { schema, ...(maxIndRange === undefined ? {} : { maxIndRange }), inputs: files, encodedWith: dataset.id },
      splits,
      skippedRows: staged.skippedRows,
      generated: null,
    };
    await Deno.copyFile(dictionaryPath, writer.path(DICTIONARY_FILE));
    return { body, adopted: [DICTIONARY_FILE], result: staged.labelled };
  });
  return { dataset: encoded, labelled: result };
}

function dictionaryBytes({ memoryBytes = DEFAULT_MEMORY_BYTES }: ReadOptions): number {
  return memoryBytes * DICTIONARY_MEMORY_SHARE;
}

/** Runs a job with an engine that spills beside the artifact, commits what it made and opens it. */
async function withEngine<R>(
  doing: string,
  options: ReadOptions & { readonly out: string },
  job: (engine: Engine, writer: ArtifactWriter) => Promise<{ body: DatasetBody; adopted: string[]; result: R }>,
): Promise<{ dataset: Dataset; result: R }> {
  using writer = new ArtifactWriter("dataset", options.out);
  const directory = writer.path("stage");
  Deno.mkdirSync(directory);
  const limits = {
    memoryBytes: (options.memoryBytes ?? DEFAULT_MEMORY_BYTES) * ENGINE_MEMORY_SHARE,
    threads: options.threads ?? availableParallelism(),
  };
  let made: Awaited<ReturnType<typeof job>>;
  try {
    using engine = await Engine.create(directory, limits);
    made = await job(engine, writer);
  } catch (error) {
    throw engineFailure(`${doing} ${options.out}`, error);
  }
  Deno.removeSync(directory, { recursive: true });
  writer.commit(made.body, made.adopted);
  return { dataset: Dataset.open(options.out), result: made.result };
}

/** Writes how often each row is looked up in the train split: what the dictionary counted, the rest for row 0. */
async function writeCounts(
  engine: Engine,
  writer: ArtifactWriter,
  frequencies: readonly Uint32Array[],
  columns: readonly { kind: string }[],
  trainRows: number,
): Promise<void> {
  for (const [t, counts] of frequencies.entries()) {
    const lookups = columns[t].kind === "bag"
      ? await engine.number(`SELECT coalesce(sum(len(t${t})), 0) FROM log WHERE row < ${trainRows}`)
      : trainRows;
    counts[0] = Math.min(lookups - counts.reduce((sum, n) => sum + n, 0), 2 ** 32 - 1);
    writer.file(COUNTS_FILE).append(counts);
  }
}
