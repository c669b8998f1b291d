/** Prepares datasets from raw logs. */
import { fingerprint, isCached } from "../storage/artifact.ts";
import { UsageError } from "../errors.ts";
import { ALONE } from "../parallel/host_group.ts";
import { type ProcessGroup, together, togetherAsync } from "../parallel/process_group.ts";
import { Dataset, type DatasetBody, openMade, type Split, SPLITS } from "./dataset.ts";
import type { DatasetEncoding } from "./dataset_encoding.ts";
import { knownBy, type RawEncoding, rawEncodingOf, sameFeatures } from "./encoding.ts";
import { type Format, schemaOf, withGroup, withWeight } from "./formats.ts";
import { expectApart, expectUnchanged, findInputs, identify, type KnownFile } from "./inputs.ts";
import { type SessionShares, withRows, writeLogSessions } from "./prepare_sessions.ts";
import { sessionsFrom } from "./session_rows.ts";
import { OutputLock } from "../storage/output_lock.ts";
import { buildDataset, DEFAULT_MEMORY_BYTES, type JobOptions, type LogParts, type ReadOptions } from "./prepare_job.ts";
import { type NegativeOptions, negativesFault } from "./negatives.ts";
import { isChunkFormat } from "./stage_chunks.ts";
import type { LogSchema } from "./schema.ts";
import { expectShares, type Fractions, splitSizes } from "./splits.ts";
import type { StagedLog } from "./staged_log.ts";

/** Options for preparing a dataset. */
export interface PrepareOptions extends ReadOptions {
  /** Files or globs, in the order of time. TSV or CSV, also .gz and .zst; Parquet. */
  readonly inputs: readonly string[];
  /** Further files that become the validation split; then `validationFraction` must be 0. */
  readonly validationInputs?: readonly string[];
  /** Further files that become the test split; then `testFraction` must be 0. */
  readonly testInputs?: readonly string[];
  /** See docs/datasets.md. */
  readonly format: Format;
  /** Schema of the columns, such as `inferSchema` proposes, or a file with it; required for csv and parquet. */
  readonly schema?: string | LogSchema;
  /** Column by which metrics group the samples, such as the user; default that of the schema. */
  readonly groupBy?: string;
  /** Column of the weights of samples, which is then not a feature; default that of kind weight in the schema. */
  readonly weight?: string;
  /** Negatives to draw for the positives of all splits; `groupBy` names the user. Default none. */
  readonly negatives?: NegativeOptions;
  /**
   * An encoding whose ids are kept, for a model that grows: values of the train split that it does not have get rows
   * after its own. Logs are read as they were for it, so format, schema and range need not be given again (`criteo`
   * without a schema is its format); if they are, they must be the same.
   */
  readonly known?: DatasetEncoding | undefined;
  /**
   * Drops rows of the known encoding whose values the train splits of this number of growths, this one included, do not
   * contain. Ids close up, and such a value is unknown until it is seen again, as a new one. Default: no row is dropped.
   */
  readonly expire?: number | undefined;
  /** Directory of the dataset. */
  readonly out: string;
  /** Values seen less often in the train split share row 0 with unseen ones; default 1. */
  readonly minFrequency?: number;
  /** Categorical values are taken modulo this number first (text: their hash). */
  readonly maxIndRange?: number;
  /**
   * Share of the rows of `inputs` that becomes the validation split, after the train split; default 0.05, or 0 with
   * `validationInputs`.
   */
  readonly validationFraction?: number;
  /** Share of the rows of `inputs` that becomes the test split, at the end; default 0.1, or 0 with `testInputs`. */
  readonly testFraction?: number;
  /** For generated data: the AUC of the true model, to be recorded. */
  readonly generated?: { readonly bestAuc: Partial<Record<Split, number>> };
  /**
   * The process group that prepares together, each rank with the same options and files; default this process alone.
   */
  readonly group?: ProcessGroup | undefined;
}

/** Everything but where the dataset is written. */
type LogOptions = Omit<PrepareOptions, "out">;

const DEFAULT_VALIDATION_FRACTION = 0.05;
const DEFAULT_TEST_FRACTION = 0.1;
/** Of the users of sessions, as published. */
const DEFAULT_TEST_USERS = 0.3;

/** Incremented when the same files and options get another meaning; version 0.1 had none. */
const READING_RULES = 1;

function fractionsOf(options: LogOptions): Fractions {
  if (options.format === "taobao-sessions") return { validation: 0, test: 0 }; // users are split, not rows
  const { validationInputs, testInputs } = options;
  const validation = options.validationFraction ?? (validationInputs === undefined ? DEFAULT_VALIDATION_FRACTION : 0);
  const test = options.testFraction ?? (testInputs === undefined ? DEFAULT_TEST_FRACTION : 0);
  expectShares({ validation, test });
  if (validationInputs !== undefined && validation > 0) {
    throw new UsageError("Cannot split off a validation fraction: the validation files are the validation split");
  }
  if (testInputs !== undefined && test > 0) {
    throw new UsageError("Cannot split off a test fraction: the test files are the test split");
  }
  return { validation, test };
}

/**
 * Shares of the users of sessions, which are split instead of rows. Throws UsageError for shares that leave none, and for
 * options that sessions do not have.
 */
function sharesOf(options: LogOptions): SessionShares {
  const { validationFraction: validation, testFraction: test = DEFAULT_TEST_USERS, minFrequency = 1 } = options;
  const refused = [
    ["--min-frequency", minFrequency > 1 ? minFrequency : undefined],
    ["--max-ind-range", options.maxIndRange],
    ["--validation", options.validationInputs],
    ["--test", options.testInputs],
    ["--group", options.groupBy],
    ["--weight", options.weight],
    ["--negatives", options.negatives],
  ].find(([, value]) => value !== undefined);
  if (refused !== undefined) {
    throw new UsageError(
      `Cannot use ${refused[0]} with format taobao-sessions: its splits and negatives are those of TBSM`,
    );
  }
  if (![test, validation ?? 0].every((share) => share >= 0 && share < 1)) {
    throw new UsageError(
      `Cannot split: validation ${validation ?? 0} and test ${test} of the users must each leave a share for training`,
    );
  }
  return { test, ...(validation === undefined ? {} : { validation }) };
}

/** Files, with everything else that a dataset's content depends on. */
export interface LogSource {
  /** Those that are split, and those of the other splits. */
  readonly files: Readonly<Record<Split, readonly KnownFile[]>>;
  /** Paths, content, schema and options. Equal sources give equal datasets. */
  readonly body: DatasetBody["source"];
}

/** Reads all files of a log once and identifies their content. Throws HotsetError for missing files. */
export async function sourceOf(options: LogOptions): Promise<LogSource> {
  const { group = ALONE, minFrequency = 1, known, expire, onProgress = () => {} } = options;
  const isWhole = (value: number, most = Infinity) => Number.isInteger(value) && value >= 1 && value <= most;
  const { found, settings } = together(group, () => {
    if (!isWhole(minFrequency)) {
      throw new UsageError(`Cannot use a minimum frequency of ${minFrequency}: it must be a whole number from 1`);
    }
    if (options.maxIndRange !== undefined && !isWhole(options.maxIndRange, 2 ** 32 - 1)) {
      throw new UsageError(`Cannot use an index range of ${options.maxIndRange}: it must be a whole number from 1`);
    }
    if (expire !== undefined && (known === undefined || !isWhole(expire))) {
      throw new UsageError(
        `Cannot drop rows unseen for ${expire} growths: it must be a whole number from 1, with a known encoding`,
      );
    }
    const { format, schema, maxIndRange } = readingOf(options);
    const patterns = { train: options.inputs, validation: options.validationInputs, test: options.testInputs };
    const found = bySplit((split) => findInputs(patterns[split] ?? [], format));
    expectApart(found);
    return {
      found,
      settings: {
        format,
        schema,
        ...(options.negatives === undefined ? {} : { negatives: options.negatives }),
        minFrequency,
        ...(maxIndRange === undefined ? {} : { maxIndRange }),
        fractions: fractionsOf(options),
        ...(format === "taobao-sessions" ? { users: sharesOf(options) } : {}),
        onBadRow: options.onBadRow ?? "fail",
      },
    };
  });
  const identified = await identify(SPLITS.flatMap((split) => found[split]), group, (f) => onProgress("check", f));
  const files = bySplit((split) => identified.splice(0, found[split].length));
  const { train, validation, test } = bySplit((split) => files[split].map(identityOf));
  return {
    files,
    body: {
      rules: READING_RULES,
      ...settings,
      inputs: train,
      // Left out where there are none, so that the same log keeps the dataset that version 0.1 made of it.
      ...(validation.length === 0 ? {} : { validationInputs: validation }),
      testInputs: test,
      ...(known === undefined ? {} : { known: { ...knownBy(known), ...(expire === undefined ? {} : { expire }) } }),
    },
  };
}

/** What a function returns for each split, called in their order. */
function bySplit<T>(of: (split: Split) => T): Record<Split, T> {
  return { train: of("train"), validation: of("validation"), test: of("test") };
}

interface Reading extends Pick<JobOptions, "format" | "schema" | "maxIndRange"> {
  /** Rules and replacements that another log has determined. */
  readonly found: Partial<Pick<RawEncoding, "rules" | "fills">>;
}

/** How a log is read: as the options say, and as the log of a known encoding was. Throws UsageError. */
function readingOf(options: LogOptions): Reading {
  const { format, schema, groupBy, weight, maxIndRange, known } = options;
  if (known === undefined) {
    const own = schemaOf(format, schema, groupBy, weight);
    return { ...{ format, maxIndRange, found: {} }, schema: expectGroups({ ...options, maxIndRange }, own) };
  }
  const { rules, fills, ...read } = rawEncodingOf(known);
  const refuse = (what: string, remedy: string) => {
    throw new UsageError(`Cannot extend the dictionary of ${known.directory}: it is of ${what}; ${remedy}`);
  };
  if (known.steps > 1) refuse("sessions", "train a new model");
  // Criteo's is the format where none is named.
  if (format !== "criteo" && format !== read.format) {
    refuse(`format ${read.format}, not ${format}`, "leave --format out");
  }
  const own = schema === undefined
    ? withWeight(read.format, withGroup(read.format, read.schema, groupBy), weight)
    : schemaOf(read.format, schema, groupBy, weight);
  if (!sameFeatures(own, read.schema)) refuse("other columns", "leave --schema out");
  if (maxIndRange !== undefined && maxIndRange !== read.maxIndRange) {
    refuse(`range ${read.maxIndRange ?? "of all values"}, not ${maxIndRange}`, "leave --max-ind-range out");
  }
  const described = { ...options, maxIndRange: read.maxIndRange, schema: schema ?? `of ${known.directory}` };
  return { ...read, schema: expectGroups(described, own), found: { rules, fills } };
}

/** Throws UsageError where groups would be merged, or negatives are missing or cannot be drawn. */
function expectGroups(
  { schema, maxIndRange, negatives }: Pick<PrepareOptions, "schema" | "negatives"> & Pick<JobOptions, "maxIndRange">,
  grouped: LogSchema,
): LogSchema {
  const fault = negatives && negativesFault(grouped, negatives);
  if (fault !== undefined) throw new UsageError(`Cannot draw negatives: ${fault}`);
  if (negatives === undefined && !grouped.columns.some(({ kind }) => kind === "label")) {
    throw new UsageError(
      `Cannot prepare with schema ${
        typeof schema === "string" ? schema : "as given"
      }: without a column of kind label all rows are positives; draw ` +
        `negatives for them with --negatives 4 --group USER --item ITEM`,
    );
  }
  const column = grouped.columns.find(({ name }) => name === grouped.group);
  if (maxIndRange !== undefined && column?.kind === "sparse" && column.values === "hex") {
    throw new UsageError(
      `Cannot group by ${column.name}: --max-ind-range merges its hexadecimal values; set "values": "exact" in the schema`,
    );
  }
  return grouped;
}

/** What a dataset records of a file: not its modification time. */
function identityOf({ path, bytes, content, crc32 }: KnownFile) {
  return { path, bytes, content, crc32 };
}

/**
 * Reads raw logs and writes a dataset to `options.out`. Memory depends neither on the number of rows nor on the number
 * of all tables' values. Finished steps are stored next to the output until it is complete: after a kill, the same call
 * continues from there and writes the same bytes. If another process writes the output, waits for it and uses its
 * result if its source is the same. A group divides the work for formats that DuckDB does not read; its first rank
 * prepares the others. Throws HotsetError that names file, line and reason.
 */
export async function prepareDataset(options: PrepareOptions): Promise<Dataset> {
  return await prepareFrom(options, await sourceOf(options));
}

/** The same for a log that has been identified. */
export async function prepareFrom(options: PrepareOptions, source: LogSource): Promise<Dataset> {
  const { group = ALONE } = options;
  const { found, ...reading } = readingOf(options);
  if (group.size > 1 && !isChunkFormat(reading.format)) {
    await togetherAsync(group, async () => {
      if (group.rank === 0) await prepareFrom({ ...options, group: ALONE }, source);
    });
    return together(group, () => Dataset.open(options.out, "lengths"));
  }
  const { minFrequency = 1, known, expire, negatives, onProgress = () => {} } = options;
  const { files, body } = source;
  using lock = await lockOutput(options, group);
  const [isMade] = group.gather(lock?.waited === true && isMadeFrom(body, options.out));
  if (isMade) return await openMade(options.out, group);
  const settings = { ...options, ...reading };
  const build = async (out: string) =>
    await buildDataset("prepare", body, { ...settings, out }, async (job) => {
      const all = SPLITS.flatMap((split) => files[split]);
      const total = bytesOf(all);
      let read = 0;
      const stage = async (name: string, files: readonly KnownFile[], found: Parameters<typeof job.stageLog>[3]) => {
        const log = await job.stageLog(name, files, "train", found, (f) => {
          onProgress("read", (read + f * bytesOf(files)) / total);
        });
        read += bytesOf(files);
        return log;
      };
      const fractions = fractionsOf(options);
      const trainRows = (rows: number) => splitSizes(rows, fractions)[0].samples;
      const log = await stage("log", files.train, { trainRows, ...found });
      const parts = splitSizes(log.rows, fractions);
      const chosen: LogParts[] = [{ log, parts }];
      for (const split of ["validation", "test"] as const) {
        if (files[split].length === 0) continue;
        const further = await stage(`${split}_log`, files[split], foundIn(log));
        chosen.push({ log: further, parts: [{ split, samples: further.rows }] });
      }
      together(group, () => expectUnchanged(all));
      onProgress("read", 1);
      const drawn = negatives && await job.drawNegatives(chosen, negatives, found.fills);
      const logs = drawn?.logs ?? chosen;
      const made = await job.finish(logs, { train: logs[0].parts[0].samples, minFrequency, known, expire });
      const counts = drawn && { negatives: { drawn: drawn.drawn, missing: drawn.missing } };
      return { body: { ...made, ...counts, source: body, generated: options.generated ?? null }, result: undefined };
    });
  if (reading.format !== "taobao-sessions") return (await build(options.out)).dataset;
  return await withRows(options, body, async (rows) => {
    const dataset = isMadeFrom(body, rows) ? await openMade(rows, ALONE) : (await build(rows)).dataset;
    return await writeLogSessions(dataset, options.out, body, sharesOf(options), {
      ...{ inputs: options.inputs, memoryBytes: options.memoryBytes ?? DEFAULT_MEMORY_BYTES },
      onProgress: (fraction) => onProgress("encode", fraction),
    });
  });
}

function bytesOf(files: readonly KnownFile[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** What a log determines about reading other logs with the same schema. */
function foundIn({ rules, missing }: StagedLog) {
  return { rules, fills: missing.map(({ value }) => value) };
}

/** Waits until no other process writes the output. */
async function lockOutput(
  { out, signal, onProgress }: ReadOptions & { readonly out: string },
  group: ProcessGroup,
): Promise<OutputLock | undefined> {
  return await togetherAsync(group, async () => {
    if (group.rank > 0) return undefined;
    return await OutputLock.wait(out, `write dataset ${out}`, () => {
      signal?.throwIfAborted();
      onProgress?.("wait", 0);
    });
  });
}

/** True if a complete dataset of this source exists: the result of the process that was waited for. */
function isMadeFrom(source: DatasetBody["source"], out: string): boolean {
  return isCached("dataset", out) && fingerprint(Dataset.open(out, "lengths").body.source) === fingerprint(source);
}

/** Options for encoding new rows. */
export interface EncodeOptions extends ReadOptions {
  /** Directory of the new dataset. */
  readonly out: string;
  /** "evaluate", the default, reads labels if there is a label column; "predict" ignores them. */
  readonly purpose?: "evaluate" | "predict";
}

/**
 * Encodes new rows with the dictionary of an existing dataset, all into the test split of a new one, in the order of
 * the inputs. If no label is read, `labelled` is false and all labels are 0. Throws HotsetError if the inputs cannot be
 * read or have another format than those of the dataset.
 */
export async function encodeWith(
  encoding: DatasetEncoding,
  inputs: readonly string[],
  options: EncodeOptions,
): Promise<{ dataset: Dataset; labelled: boolean }> {
  const { format, schema, maxIndRange, ...found } = rawEncodingOf(encoding);
  const { purpose = "evaluate", onProgress = () => {} } = options;
  const files = await identify(findInputs(inputs, format), ALONE, (f) => onProgress("check", f));
  const source = {
    format,
    schema,
    ...(maxIndRange === undefined ? {} : { maxIndRange }),
    onBadRow: options.onBadRow ?? "fail",
    inputs: files.map(identityOf),
    encodedWith: encoding.id,
    purpose,
  };
  const settings = { ...options, format, schema, maxIndRange };
  using _lock = await lockOutput(options, ALONE);
  const build = async (out: string) =>
    await buildDataset("encode", source, { ...settings, out }, async (job) => {
      const log = await job.stageLog("log", files, purpose, found, (f) => onProgress("read", f));
      expectUnchanged(files);
      const made = await job.finish([{ log, parts: [{ split: "test", samples: log.rows }] }], encoding);
      return { body: { ...made, source, generated: null }, result: log.labelled };
    });
  if (encoding.steps === 1) {
    const { dataset, result } = await build(options.out);
    return { dataset, labelled: result };
  }
  return await withRows(options, source, async (rows) => {
    const { dataset, result } = await build(rows);
    return { dataset: await sessionsFrom(dataset, options.out), labelled: result };
  });
}
