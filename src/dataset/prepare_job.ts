/** The steps of preparing: logs are staged, their tables encoded one by one, and everything is assembled. */
import { availableParallelism } from "node:os";
import { fingerprint } from "../storage/artifact.ts";
import { expectRoom } from "../storage/disk.ts";
import { measureInParts } from "../storage/file_entry.ts";
import { HotsetError } from "../errors.ts";
import { ALONE } from "../parallel/host_group.ts";
import { expectSame, type ProcessGroup, together, togetherAsync } from "../parallel/process_group.ts";
import { GroupWriter } from "../storage/group_writer.ts";
import { assemble, type EncodedLog } from "./assemble.ts";
import { COUNTS_FILE, type Dataset, type DatasetBody, openMade } from "./dataset.ts";
import { DatasetEncoding, DICTIONARY_FILE, KEYS_FILE, MAX_ROWS } from "./dataset_encoding.ts";
import { type IdSource, joinDictionaries } from "./dictionary.ts";
import { Engine, engineFailure } from "./duckdb.ts";
import type { Format } from "./formats.ts";
import type { InputFile } from "./inputs.ts";
import { numberKeys, numberValues } from "./number_tables.ts";
import { preparePool } from "./prepare_pool.ts";
import { type DenseColumn, isDense, isMean, isSparse, type LogSchema, weightsOf } from "./schema.ts";
import { type ChunkFormat, isChunkFormat, stageChunks } from "./stage_chunks.ts";
import { NUMBERS_FILE, UNSEEN_FILE } from "./row_history.ts";
import type { SplitPart } from "./splits.ts";
import { StageDirectory } from "./stage_directory.ts";
import type { BadRowPolicy, Purpose, StagedLog, StageOptions } from "./staged_log.ts";
import { drawNegatives, type NegativeOptions, withNegatives } from "./negatives.ts";
import { stageColumns, stageQuery } from "./stage_query.ts";
import { stagedView } from "./value_rules.ts";

/** Default limit of memory for reading raw logs. */
export const DEFAULT_MEMORY_BYTES = 4 * 2 ** 30;
/** Share of the memory for DuckDB; the rest is for the dictionary that is being built, buffers and the runtime. */
const ENGINE_MEMORY_SHARE = 0.5;

/** Resources and callbacks for reading logs; the same for all functions that read logs. */
export interface ReadOptions {
  /** Default fail. */
  readonly onBadRow?: BadRowPolicy;
  /** Maximum memory in bytes; default 4 GiB. */
  readonly memoryBytes?: number;
  /** Number of threads; default all cores. */
  readonly threads?: number;
  /** Aborting it ends the work with the signal's reason; finished steps are kept for the next call. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Called regularly with the completed share of a stage, 0 to 1; stage `wait` means that another process writes the
   * same output.
   */
  readonly onProgress?: (stage: "check" | "wait" | "read" | "count" | "encode", fraction: number) => void;
}

export interface JobOptions extends ReadOptions {
  readonly format: Format;
  readonly schema: LogSchema;
  readonly maxIndRange: number | undefined;
  readonly negatives?: NegativeOptions | undefined;
  readonly out: string;
  /**
   * The process group that prepares together, with equal options; default this process alone. Only for a chunk format.
   */
  readonly group?: ProcessGroup | undefined;
}

/** A staged log with its splits. */
export interface LogParts {
  readonly log: StagedLog;
  readonly parts: readonly SplitPart[];
}

/** Logs with the negatives of their positives. */
export interface NegativeLogs {
  readonly logs: readonly LogParts[];
  readonly drawn: number;
  readonly missing: number;
}

/**
 * Runs `work` in a staging directory identified by `source`, commits the resulting dataset to `options.out` and opens
 * it. The caller holds the lock of the output.
 */
export async function buildDataset<R>(
  doing: string,
  source: DatasetBody["source"],
  options: JobOptions,
  work: (job: PrepareJob) => Promise<{ body: DatasetBody; result: R }>,
): Promise<{ dataset: Dataset; result: R }> {
  const { out, group = ALONE } = options;
  const first = group.rank === 0;
  expectSame(group, `${doing} ${out}`, "the input files (paths and content)", fingerprint(source));
  using writer = new GroupWriter(group, "dataset", out);
  const made = together(group, () => first ? new StageDirectory(out, source) : undefined);
  const stage = together(group, () => made ?? new StageDirectory(out, source));
  const result = await stage.during(options.signal, first, async () => {
    using job = await PrepareJob.create(writer, stage, options);
    const { body, result } = await work(job);
    writer.commit(body);
    return result;
  }).catch((error) => {
    throw engineFailure(`${doing} ${out}`, error);
  });
  return { dataset: await openMade(out, group), result };
}

/** The steps that all preparations share. */
class PrepareJob implements Disposable {
  readonly #writer: GroupWriter;
  readonly #stage: StageDirectory;
  readonly #options: JobOptions;
  readonly #group: ProcessGroup;
  readonly #threads: number;
  readonly #memoryBytes: number;
  /** The workers: threads for the formats with their own readers, DuckDB for all others. */
  readonly #pool: ReturnType<typeof preparePool> | undefined;
  readonly #engine: Engine | undefined;

  private constructor(writer: GroupWriter, stage: StageDirectory, options: JobOptions, engine: Engine | undefined) {
    this.#writer = writer;
    this.#stage = stage;
    this.#options = options;
    this.#group = options.group ?? ALONE;
    this.#threads = options.threads ?? Math.max(1, Math.floor(availableParallelism() / this.#group.localSize));
    this.#memoryBytes = options.memoryBytes ?? DEFAULT_MEMORY_BYTES;
    this.#engine = engine;
    this.#pool = engine === undefined ? preparePool(this.#threads, options.signal) : undefined;
  }

  static async create(writer: GroupWriter, stage: StageDirectory, options: JobOptions): Promise<PrepareJob> {
    const { format, memoryBytes = DEFAULT_MEMORY_BYTES, threads = availableParallelism(), signal } = options;
    const limits = { memoryBytes: memoryBytes * ENGINE_MEMORY_SHARE, threads, signal };
    const engine = isChunkFormat(format) ? undefined : await Engine.create(stage.directory, limits);
    return new PrepareJob(writer, stage, options, engine);
  }

  /** Reads and checks files. `found` is what a previously staged log determined about reading this one. */
  async stageLog(
    name: string,
    files: readonly InputFile[],
    purpose: Purpose,
    found: Pick<StageOptions, "rules" | "fills" | "trainRows">,
    onProgress: (fraction: number) => void,
  ): Promise<StagedLog> {
    const { format, schema, maxIndRange, negatives, onBadRow = "fail" } = this.#options;
    const options = { name, onBadRow, maxIndRange, purpose, item: negatives?.item[0], ...found, onProgress };
    if (this.#engine !== undefined) return await stageQuery(this.#engine, schema, files, this.#stage, options);
    return await stageChunks(format as ChunkFormat, files, this.#stage, this.#pool!, this.#group, options);
  }

  /**
   * Gives the positives of all logs negatives, which belong to the same split. The first part of the first log trains.
   * `known` replaces missing values, if that is not for the logs to determine.
   */
  async drawNegatives(
    logs: readonly LogParts[],
    options: NegativeOptions,
    known: readonly (number | undefined)[] | undefined,
  ): Promise<NegativeLogs> {
    const { schema, maxIndRange, onBadRow = "fail" } = this.#options;
    const engine = this.#engine!;
    const stage = this.#stage;
    const { rules } = logs[0].log;
    const positives = logs.map(({ log: { name }, parts }) => ({
      ...{ name, ends: endsOf(parts), part: (i: number) => stage.path(`${name}.negatives.${i}.parquet`) },
    }));
    const memory = this.#memoryBytes * ENGINE_MEMORY_SHARE;
    const draw = () => drawNegatives(engine, schema, rules, positives, options, memory);
    const found = await stage.step("negatives", draw);
    const filled: LogParts[] = [];
    for (const [i, { log, parts }] of logs.entries()) {
      const name = `${log.name}_negatives`;
      const sizes = parts.map(({ split, samples }, k) => ({ split, samples: samples + found.drawn[i][k] }));
      const rows = sizes.reduce((sum, { samples }) => sum + samples, 0);
      await engine.run(`CREATE OR REPLACE VIEW ${stagedView(name)} AS ${withNegatives(found.files[i])}`);
      const fills = filled[0]?.log.missing.map(({ value }) => value) ?? known;
      const settings = { name, onBadRow, maxIndRange, purpose: "train", fills } as const;
      const trainRows = () => sizes[0].samples;
      const columns = await stageColumns(engine, schema, { name, rows, rules }, stage, { ...settings, trainRows });
      filled.push({ log: { ...log, name, rows, ...columns }, parts: sizes });
    }
    return { logs: filled, drawn: found.drawn.flat().reduce((sum, count) => sum + count, 0), missing: found.missing };
  }

  /** Assigns ids, encodes all tables and writes the samples. */
  async finish(logs: readonly LogParts[], from: IdSource): Promise<Omit<DatasetBody, "source" | "generated">> {
    const { schema, onProgress = () => {} } = this.#options;
    const stage = this.#stage;
    const dense = schema.columns.filter(isDense);
    const columns = schema.columns.filter(isSparse);
    const grouped = logs[0].log.groups !== undefined;
    const weight = logs[0].log.weights === undefined ? undefined : schema.columns.find((c) => c.kind === "weight");
    const rowBytes = 1 + (grouped ? 8 : 0) + (weight === undefined ? 0 : 4) +
      4 * (dense.length + columns.filter(({ kind }) => kind !== "bag").length);
    const samples = logs.reduce((sum, { log }) => sum + log.rows, 0);
    together(
      this.#group,
      () => expectRoom(this.#options.out, samples * rowBytes, `write dataset ${this.#options.out}`),
    );
    const numbering = {
      ...{ schema, stage, from, memoryBytes: this.#memoryBytes },
      logs: logs.map(({ log }) => log),
      onProgress: (fraction: number) => onProgress("count", fraction),
    };
    const sizes = this.#engine === undefined
      ? await numberKeys(numbering, { pool: this.#pool!, threads: this.#threads, group: this.#group })
      : await numberValues(numbering, this.#engine, this.#options.maxIndRange);
    const rows = sizes.reduce((sum, size) => sum + size.rows, 0);
    if (rows > MAX_ROWS) {
      throw new HotsetError(`Cannot number ${rows} rows with 32 bits; raise --min-frequency or set --max-ind-range`);
    }
    const firstRows = [0];
    for (const size of sizes) firstRows.push(firstRows.at(-1)! + size.rows);
    const encoded = logs.map(({ log, parts }): EncodedLog => ({
      log,
      parts,
      tables: columns.map((column, t) => {
        const { ids, lengths, weights } = stage.columnFiles(log.name, t);
        return {
          ids,
          lengths: column.kind === "bag" ? lengths : undefined,
          weights: weightsOf(schema.columns, column) && weights,
        };
      }),
    }));
    const splits = await assemble(
      this.#writer,
      encoded,
      dense.length,
      firstRows,
      this.#group,
      (f) => onProgress("encode", f),
    );
    const grows = !(from instanceof DatasetEncoding) && from.known !== undefined;
    const hasDropped = sizes.some(({ rows, next }) => next > rows);
    await togetherAsync(this.#group, async () => {
      if (this.#group.rank === 0) this.#writer.file(COUNTS_FILE); // even if there are no tables
      for (const t of this.#group.rank === 0 ? columns.keys() : []) {
        const files = stage.tableFiles(t);
        await this.#append(COUNTS_FILE, files.counts);
        if (this.#engine === undefined) await this.#append(KEYS_FILE, files.keys);
        if (grows) await this.#append(UNSEEN_FILE, files.unseen);
        if (grows && hasDropped) await this.#append(NUMBERS_FILE, files.numbers);
      }
    });
    if (this.#engine !== undefined) {
      const dictionary = this.#writer.path(DICTIONARY_FILE);
      await joinDictionaries(this.#engine, stage, columns.length, dictionary);
      this.#writer.adopt(DICTIONARY_FILE, await measureInParts(dictionary));
    }
    return {
      dense: dense.map((c) => c.name),
      tables: columns.map((column, t) => {
        const { rows, next } = sizes[t];
        const rule = logs[0].log.rules[t];
        return {
          ...{ name: column.name, rows, dropped: next > rows ? next - rows : undefined },
          ...{ values: rule === "untyped" ? undefined : rule, weights: weightsOf(schema.columns, column)?.name },
        };
      }),
      missing: missingOf(dense, logs),
      bags: columns.some((c) => c.kind === "bag"),
      group: grouped ? schema.group : undefined,
      weight: weight?.name,
      splits,
      skippedRows: logs.flatMap(({ log }) => log.files).reduce((sum, file) => sum + file.skippedRows, 0),
      read: logs.map(({ log }) => [...log.files]),
    };
  }

  async #append(name: string, staged: string): Promise<void> {
    await this.#writer.file(name).appendInParts(await Deno.readFile(staged));
  }

  [Symbol.dispose](): void {
    this.#pool?.[Symbol.dispose]();
    this.#engine?.[Symbol.dispose]();
  }
}

/** Rows at which the parts of a log end. */
function endsOf(parts: readonly SplitPart[]): number[] {
  let end = 0;
  return parts.map(({ samples }) => end += samples);
}

/** The missing values of all logs. */
function missingOf(dense: readonly DenseColumn[], logs: readonly LogParts[]): DatasetBody["missing"] {
  const missing = dense.flatMap((column, d) => {
    const rows = logs.reduce((sum, { log }) => sum + (log.missing[d]?.rows ?? 0), 0);
    const found = logs[0].log.missing[d];
    return found !== undefined && (rows > 0 || isMean(column))
      ? [{ feature: column.name, rows, value: found.value }]
      : [];
  });
  return missing.length > 0 ? missing : undefined;
}
