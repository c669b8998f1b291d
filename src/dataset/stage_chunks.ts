/** Stages the formats with their own readers: Criteo text and 32-bit whole numbers. */
import { HotsetError } from "../errors.ts";
import { type LabelField, lacksLabel } from "./criteo_parser.ts";
import type { InputFile } from "./inputs.ts";
import { extractNpz } from "./npz.ts";
import type { preparePool, ReadTask } from "./prepare_pool.ts";
import { type FileAccount, noRowsFault } from "./read_account.ts";
import { CHUNK_BYTES, type ReadResult } from "./read_criteo.ts";
import type { IntegerSource } from "./read_integers.ts";
import type { StageDirectory } from "./stage_directory.ts";
import type { StagedLog, StageOptions } from "./staged_log.ts";
import { firstLine } from "./text_file.ts";
import { type ProcessGroup, togetherAsync } from "../parallel/process_group.ts";

const INTEGER_ROW_WORDS = 40;
const CHUNK_ROWS = 1 << 16;
/** Tasks of each rank between two synchronisations of a group: seconds of work. */
const ROUND_TASKS = 64;

/** Formats that DuckDB does not read. */
export type ChunkFormat = "criteo" | "dlrm";
export const isChunkFormat = (format: string): format is ChunkFormat => format === "criteo" || format === "dlrm";

/** What to read, and what was read before a kill. */
interface Reading {
  readonly tasks: readonly ReadTask[];
  /** The file of each task. */
  readonly fileOf: readonly number[];
  /** The result of each task; null if it is not done. */
  readonly results: (ReadResult | null)[];
  readonly labelled: boolean;
}

/** Reads files on all threads of the pools of a group. Throws HotsetError that names file, line and reason. */
export async function stageChunks(
  format: ChunkFormat,
  files: readonly InputFile[],
  stage: StageDirectory,
  pool: ReturnType<typeof preparePool>,
  group: ProcessGroup,
  options: StageOptions,
): Promise<StagedLog> {
  const none: Reading = { tasks: [], fileOf: [], results: [], labelled: true };
  const [{ tasks, fileOf, results, labelled }] = group.gather(
    await togetherAsync(
      group,
      () => group.rank === 0 ? findTasks(format, files, stage, options) : Promise.resolve(none),
    ),
  );
  const open = [...tasks.keys()].filter((i) => results[i] === null);
  // In rounds, so that a failure of one rank soon ends all.
  const round = group.size === 1 ? open.length : group.size * ROUND_TASKS;
  for (let first = 0; first < open.length; first += round) {
    const own = open.slice(first, first + round).filter((_, k) => k % group.size === group.rank);
    let done = tasks.length - open.length + first;
    const read = await togetherAsync(group, () =>
      pool.all(own.map((i) => tasks[i]), (k, result) => {
        stage.finish(prefixName(tasks[own[k]].prefix), result);
        options.onProgress?.((done += group.size) / tasks.length);
      }));
    for (const [i, result] of group.gather(read.map((result, k) => [own[k], result] as const)).flat()) {
      results[i] = result;
    }
  }
  const chunks = results.flatMap((result) => result!.chunks);
  const rows = chunks.reduce((sum, chunk) => sum + chunk.rows, 0);
  const accounts = files.map(({ path }, i) =>
    accountOf(path, results.filter((_, k) => fileOf[k] === i) as ReadResult[])
  );
  if (rows === 0) group.agree(noRowsFault(accounts));
  return { name: options.name, rows, files: accounts, labelled, chunks, rules: [], missing: [] };
}

/** The account of a file that was read in parts. Every row is one line. */
function accountOf(path: string, parts: readonly ReadResult[]): FileAccount {
  const sum = (value: (part: ReadResult) => number) => parts.reduce((total, part) => total + value(part), 0);
  const rows = sum(({ chunks }) => chunks.reduce((total, chunk) => total + chunk.rows, 0));
  const skippedRows = sum((part) => part.skippedRows);
  const account = { path, rows, skippedRows, notes: [] };
  if (parts.some(({ blankLines }) => blankLines === undefined)) return { ...account, lines: null };
  const blank = sum(({ blankLines }) => blankLines!);
  return {
    ...account,
    lines: { read: rows + skippedRows + blank, header: 0, blank, quoted: 0, skipped: skippedRows },
  };
}

async function findTasks(
  format: ChunkFormat,
  files: readonly InputFile[],
  stage: StageDirectory,
  options: StageOptions,
): Promise<Reading> {
  const tasks: ReadTask[] = [];
  const fileOf: number[] = [];
  let labelled = true;
  for (const [i, file] of files.entries()) {
    const label = `${options.name}.${i}`;
    if (file.bytes === 0) continue;
    if (file.content === "parquet") {
      throw new HotsetError(`Cannot read ${file.path}: format ${format} has no Parquet files; use format parquet`);
    }
    if (file.content === "zip" ? format === "criteo" : file.content !== "plain" && format === "dlrm") {
      throw new HotsetError(
        `Cannot read ${file.path}: it is a ${file.content} file, not of format ${format}; unpack it`,
      );
    }
    if (format === "criteo") {
      const hasLabel = options.purpose === "train" || !lacksLabel(await firstLine(file) ?? "");
      labelled &&= hasLabel && options.purpose !== "predict";
      const field = !hasLabel ? "absent" : options.purpose === "predict" ? "ignored" : "read";
      tasks.push(...criteoTasks(file, stage.path(label), field, options));
    } else {
      labelled &&= options.purpose !== "predict";
      tasks.push(...await integerTasks(file, stage, label, options));
    }
    while (fileOf.length < tasks.length) fileOf.push(i);
  }
  const results = tasks.map(({ prefix }) => stage.finished<ReadResult>(prefixName(prefix)) ?? null);
  return { tasks, fileOf, results, labelled };
}

function prefixName(prefix: string): string {
  return prefix.slice(prefix.lastIndexOf("/") + 1);
}

function criteoTasks(
  { path, bytes, content }: InputFile,
  prefix: string,
  label: LabelField,
  { maxIndRange, onBadRow }: StageOptions,
): ReadTask[] {
  const task = { kind: "criteo", path, content, label, maxIndRange, skip: onBadRow === "skip" } as const;
  if (content !== "plain") return [{ ...task, range: undefined, prefix }];
  return Array.from({ length: Math.ceil(bytes / CHUNK_BYTES) }, (_, k) => {
    const begin = k * CHUNK_BYTES;
    return { ...task, range: { begin, end: Math.min(begin + CHUNK_BYTES, bytes) }, prefix: `${prefix}.${k}` };
  });
}

async function integerTasks(
  { path, bytes, content }: InputFile,
  stage: StageDirectory,
  label: string,
  { maxIndRange, onBadRow, purpose }: StageOptions,
): Promise<ReadTask[]> {
  const labelled = purpose !== "predict";
  let sources: IntegerSource[];
  let rows: number;
  let field: LabelField = "read";
  if (content === "zip") {
    ({ sources, rows } = await stage.step(`${label}.npz`, () => extractNpz(path, stage.path(label), labelled)));
    if (!labelled) field = "absent";
  } else {
    const rowBytes = 4 * INTEGER_ROW_WORDS;
    if (bytes % rowBytes !== 0) {
      throw new HotsetError(
        `Cannot read ${path}: its ${bytes} bytes are not whole rows of ${rowBytes} (label, 13 dense and 26 sparse ` +
          `values of 4 bytes); is it truncated?`,
      );
    }
    sources = [{ file: path, at: 0, words: INTEGER_ROW_WORDS, type: "int32" }];
    rows = bytes / rowBytes;
    if (!labelled) field = "ignored";
  }
  return Array.from({ length: Math.ceil(rows / CHUNK_ROWS) }, (_, k) => ({
    kind: "integers",
    path,
    sources,
    label: field,
    first: k * CHUNK_ROWS,
    rows: Math.min(CHUNK_ROWS, rows - k * CHUNK_ROWS),
    maxIndRange,
    skip: onBadRow === "skip",
    prefix: stage.path(`${label}.${k}`),
  }));
}
