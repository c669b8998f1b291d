/** Prepares datasets from raw logs. */
import { fingerprint, isCached } from "../storage/artifact.ts";
import { UsageError } from "../errors.ts";
import type { SplitPart } from "./assemble.ts";
import { ALONE } from "../parallel/host_group.ts";
import { type ProcessGroup, together, togetherAsync } from "../parallel/process_group.ts";
import { Dataset, type DatasetBody, openMade, type Split } from "./dataset.ts";
import type { DatasetEncoding } from "./dataset_encoding.ts";
import { knownBy, type RawEncoding, rawEncodingOf, sameFeatures } from "./encoding.ts";
import { type Format, schemaOf, withGroup, withWeight } from "./formats.ts";
import { expectApart, expectUnchanged, findInputs, identify, type KnownFile } from "./inputs.ts";
import { sharesOf, withRows, writeLogSessions } from "./prepare_sessions.ts";
import { sessionsFrom } from "./session_rows.ts";
import { OutputLock } from "../storage/output_lock.ts";
import { buildDataset, DEFAULT_MEMORY_BYTES, type JobOptions, type LogParts, type ReadOptions } from "./prepare_job.ts";
import { type NegativeOptions, negativesFault } from "./negatives.ts";
import { isChunkFormat } from "./stage_chunks.ts";
import type { LogSchema } from "./schema.ts";
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

const DEFAULT_VALIDATION_FRACTION = 0.05;
const DEFAULT_TEST_FRACTION = 0.1;

/** Incremented when the same files and options get another meaning; version 0.1 had none. */
const READING_RULES = 1;

/** Shares of the rows, by order: train, then validation, then test at the end. */
export interface Fractions {
  /** Share of the validation split. */
  readonly validation: number;
  /** Share of the test split. */
  readonly test: number;
}

function fractionsOf(options: Omit<PrepareOptions, "out">): Fractions {
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

function expectShares({ validation, test }: Fractions): void {
  if (validation >= 0 && test >= 0 && validation + test < 1) return;
  throw new UsageError(`Cannot split: validation ${validation} and test ${test} must leave a share for training`);
}

/** Sizes of the splits for this number of rows, in order. Throws UsageError if no share is left for training. */
export function splitSizes(rows: number, fractions: Fractions): SplitPart[] {
  expectShares(fractions);
  const validation = Math.floor(rows * fractions.validation);
  const test = Math.floor(rows * fractions.test);
  return [
    { split: "train", samples: rows - validation - test },
    { split: "validation", samples: validation },
    { split: "test", samples: test },
  ];
}

/** Files, with everything else that a dataset's content depends on. */
export interface LogSource {
  readonly inputs: readonly KnownFile[];
  readonly validationInputs: readonly KnownFile[];
  readonly testInputs: readonly KnownFile[];
  /** Paths, content, schema and options. Equal sources give equal datasets. */
  readonly body: DatasetBody["source"];
}

/** Reads all files of a log once and identifies their content. Throws HotsetError for missing files. */
export async function sourceOf(options: Omit<PrepareOptions, "out">): Promise<LogSource> {
  const { group = ALONE, minFrequency = 1, known, onProgress = () => {} } = options;
  const { inputs, validationInputs, testInputs, settings } = together(group, () => {
    if (!(Number.isInteger(minFrequency) && minFrequency >= 1)) {
      throw new UsageError(`Cannot use a minimum frequency of ${minFrequency}: it must be a whole number from 1`);
    }
    if (
      options.maxIndRange !== undefined &&
      !(Number.isInteger(options.maxIndRange) && options.maxIndRange >= 1 && options.maxIndRange <= 2 ** 32 - 1)
    ) {
      throw new UsageError(`Cannot use an index range of ${options.maxIndRange}: it must be a whole number from 1`);
    }
    if (
      options.expire !== undefined && (known === undefined || !(Number.isInteger(options.expire) && options.expire > 0))
    ) {
      throw new UsageError(
        `Cannot drop rows unseen for ${options.expire} growths: it must be a whole number from 1, with a known encoding`,
      );
    }
    const { format, schema, maxIndRange } = readingOf(options);
    const inputs = findInputs(options.inputs, format);
    const validationInputs = findInputs(options.validationInputs ?? [], format);
    const testInputs = findInputs(options.testInputs ?? [], format);
    expectApart({ train: inputs, validation: validationInputs, test: testInputs });
    return {
      inputs,
      validationInputs,
      testInputs,
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
  const identified = await identify(
    [...inputs, ...validationInputs, ...testInputs],
    group,
    (f) => onProgress("check", f),
  );
  const files = {
    inputs: identified.splice(0, inputs.length),
    validationInputs: identified.splice(0, validationInputs.length),
    testInputs: identified,
  };
  return {
    ...files,
    body: {
      rules: READING_RULES,
      ...settings,
      inputs: files.inputs.map(identityOf),
      // Left out where there are none, so that the same log keeps the dataset that version 0.1 made of it.
      ...(validationInputs.length === 0 ? {} : { validationInputs: files.validationInputs.map(identityOf) }),
      testInputs: files.testInputs.map(identityOf),
      ...(known === undefined ? {} : {
        known: { ...knownBy(known), ...(options.expire === undefined ? {} : { expire: options.expire }) },
      }),
    },
  };
}

interface Reading extends Pick<JobOptions, "format" | "schema" | "maxIndRange"> {
  /** Rules and replacements that another log has determined. */
  readonly found: Partial<Pick<RawEncoding, "rules" | "fills">>;
}

/** How a log is read: as the options say, and as the log of a known encoding was. Throws UsageError. */
function readingOf(options: Omit<PrepareOptions, "out">): Reading {
  const { format, schema, groupBy, weight, maxIndRange, known } = options;
  if (known === undefined) return { ...{ format, maxIndRange, found: {} }, schema: groupedSchema(options) };
  const { rules, fills, ...read } = rawEncodingOf(known);
  const refuse = (what: string, remedy: string) => {
    throw new UsageError(`Cannot extend the dictionary of ${known.directory}: it is of ${what}; ${remedy}`);
  };
  if (known.steps > 1) refuse("sessions", "train a new model");
  const unnamed = schema === undefined && (format === "criteo" || format === read.format);
  if (!unnamed && format !== read.format) refuse(`format ${read.format}, not ${format}`, "leave --format out");
  const own = unnamed
    ? withWeight(read.format, withGroup(read.format, read.schema, groupBy), weight)
    : schemaOf(format, schema, groupBy, weight);
  if (!sameFeatures(own, read.schema)) refuse("other columns", "leave --schema out");
  if (maxIndRange !== undefined && maxIndRange !== read.maxIndRange) {
    refuse(`range ${read.maxIndRange ?? "of all values"}, not ${maxIndRange}`, "leave --max-ind-range out");
  }
  const described = { ...options, maxIndRange: read.maxIndRange, schema: schema ?? `of ${known.directory}` };
  return { ...read, schema: expectGroups(described, own), found: { rules, fills } };
}

/** The schema of a log. Throws UsageError. */
function groupedSchema(options: Omit<PrepareOptions, "out">): LogSchema {
  return expectGroups(
    { maxIndRange: undefined, ...options },
    schemaOf(options.format, options.schema, options.groupBy, options.weight),
  );
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
  const { inputs, validationInputs, testInputs, body } = source;
  using lock = await lockOutput(options, group);
  const [isMade] = group.gather(lock?.waited === true && isMadeFrom(body, options.out));
  if (isMade) return await openMade(options.out, group);
  const settings = { ...options, ...reading };
  const build = async (out: string) =>
    await buildDataset("prepare", body, { ...settings, out }, async (job) => {
      const all = [...inputs, ...validationInputs, ...testInputs];
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
      const log = await stage("log", inputs, { trainRows, ...found });
      const parts = splitSizes(log.rows, fractions);
      const chosen: LogParts[] = [{ log, parts }];
      for (const [split, files] of [["validation", validationInputs], ["test", testInputs]] as const) {
        if (files.length === 0) continue;
        const further = await stage(`${split}_log`, files, foundIn(log));
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
