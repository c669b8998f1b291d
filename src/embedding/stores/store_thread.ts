/**
 * A row store on its own thread, which works while steps compute. Jobs are executed in order: each writes the evicted
 * rows, then reads the fetched ones, so a row is read after it was written.
 */
import { HotsetError } from "../../errors.ts";
import { Mailbox } from "../../threads/mailbox.ts";
import { answerOf, startWorker } from "../../threads/start_worker.ts";
import { rowWords } from "../../optimizer/optimizers.ts";
import { initialRecords } from "../initialise.ts";
import { rowsOf, type Shard, WHOLE } from "../shard.ts";
import type { LogSegmentEntry, SavedRows } from "./log_segments.ts";
import { MAX_SEGMENTS } from "./log_sizes.ts";
import { RowLog, type RowLogOptions } from "./row_log.ts";
import { RowNumbers } from "./row_numbers.ts";
import { NotFiniteRow, type RowStore, type StoreCounts } from "./row_store.ts";
import { initialRowsOf } from "./saved_rows.ts";
import type { EmbeddingShape } from "../tables.ts";

/** The message that starts the thread. */
export interface StoreOptions extends EmbeddingShape {
  /** Directory of its segments; undefined if it only reads those of checkpoints. */
  readonly directory: string | undefined;
  /** The host whose rows the store has; default all. */
  readonly shard?: Shard | undefined;
}

/** Maximum number of pending jobs, and of rows that each writes and reads. */
export interface JobSizes {
  readonly jobs: number;
  readonly rows: number;
}

/** Lists of rows and their records, (rows, recordWords), in shared memory. */
export interface RowJob {
  readonly written: Uint32Array;
  readonly read: Uint32Array;
  /** Those of the written rows until the job begins, and of the read ones when it is done. */
  readonly records: Float32Array;
}

/** Shared memory of both sides. */
interface StoreMemory {
  readonly options: StoreOptions;
  readonly jobs: readonly RowJob[];
  readonly mailbox: SharedArrayBuffer;
  /** By job: number of rows that it writes and reads. */
  readonly counts: Int32Array<SharedArrayBuffer>;
  /** Counters of the store, in the order of `COUNTS`. */
  readonly figures: Float64Array<SharedArrayBuffer>;
  /** The segments that a job adopts or has sealed, as JSON of SavedRows without the numbers. */
  readonly saved: Uint8Array<SharedArrayBuffer>;
}

/** Positions in the mailbox: jobs begun and done, the non-finite row, the argument of a command, the end flag. */
const BEGUN = 0, DONE = 1, ROW = 2, ARGUMENT = 3, STOP = 4, ENDED = 5, WORDS = 6;
/**
 * Commands, in place of a number of rows to write: to forget all rows, whose initial values are then those of a seed; to
 * take a part of the numbers of rows, a number of words in the list of written rows; to adopt the segments of a checkpoint,
 * a number of bytes of `saved`; and to seal those of the store, which returns that.
 */
const CLEAR = -1, NUMBER = -2, ADOPT = -3, SEAL = -4;
/** Bytes of `saved` for a directory, and for each segment. */
const PATH_BYTES = 8192, ENTRY_BYTES = 80;
/** Milliseconds to wait for the end of the thread, which may be in a read of a disk that does not answer. */
const END_TIMEOUT_MS = 5000;
const COUNTS = ["rowsRead", "rowsComputed", "rowsWritten", "bytesRead", "bytesWritten", "reads", "writes"] as const;
const DISK_BYTES = COUNTS.length;

/** The trainer's side. */
export class StoreThread implements Disposable {
  /** How the store reads and writes, as text. */
  readonly name: string;
  readonly #memory: StoreMemory;
  readonly #mailbox: Mailbox;
  readonly #worker: Worker;
  #begun = 0;
  /** Milliseconds that the caller waited for jobs. */
  waitedMs = 0;

  private constructor(memory: StoreMemory, mailbox: Mailbox, worker: Worker, name: string) {
    this.#memory = memory;
    this.#mailbox = mailbox;
    this.#worker = worker;
    this.name = name;
  }

  /**
   * Starts the thread with an empty store; `body` is a module that serves another store than the log of rows. Throws
   * HotsetError if the store cannot be created.
   */
  static async start(
    options: StoreOptions,
    { jobs, rows }: JobSizes,
    body: URL = new URL("./store_worker.ts", import.meta.url),
  ): Promise<StoreThread> {
    const words = (count: number) => new SharedArrayBuffer(4 * count);
    const recordWords = rowWords(options);
    const mailbox = new Mailbox(WORDS);
    const memory: StoreMemory = {
      options,
      jobs: Array.from({ length: jobs }, () => ({
        written: new Uint32Array(words(rows)),
        read: new Uint32Array(words(rows)),
        records: new Float32Array(words(rows * recordWords)),
      })),
      mailbox: mailbox.memory,
      counts: new Int32Array(words(2 * jobs)),
      figures: new Float64Array(words(2 * (COUNTS.length + 1))),
      saved: new Uint8Array(new SharedArrayBuffer(PATH_BYTES + ENTRY_BYTES * MAX_SEGMENTS)),
    };
    const worker = await startWorker(body, "row store");
    try {
      const name = await answerOf<string>(worker, memory, (reason) => {
        mailbox.fail(new HotsetError(`Cannot continue: the thread of the row store died: ${reason}`));
        return new HotsetError(`Cannot start the row store: ${reason}`);
      });
      throwFailure(mailbox);
      return new StoreThread(memory, mailbox, worker, name);
    } catch (error) {
      worker.terminate();
      throw error;
    }
  }

  /** Begins a job that forgets all written rows: all have the initial values of this seed. */
  clear(seed: number): void {
    this.#execute(CLEAR, seed);
  }

  /** Begins with the rows of a checkpoint. Throws HotsetError if they cannot be read. */
  adopt({ numbers, ...saved }: SavedRows): void {
    this.settle();
    const words = numbers?.words ?? new Uint32Array(0);
    for (let first = 0; first < words.length;) {
      const { written } = this.next;
      const part = words.subarray(first, first + written.length);
      written.set(part);
      this.#execute(NUMBER, part.length);
      first += part.length;
    }
    this.#execute(ADOPT, new TextEncoder().encodeInto(JSON.stringify(saved), this.#memory.saved).written);
  }

  /** Seals everything written, as segments that never change, in the directory of the store. */
  seal(): Pick<SavedRows, "directory" | "segments"> {
    const segments: LogSegmentEntry[] = readText(this.#memory.saved, this.#execute(SEAL, 0));
    return { directory: this.#memory.options.directory!, segments };
  }

  /** Executes a command after all jobs, and returns its result. */
  #execute(command: number, argument: number): number {
    this.settle();
    this.#mailbox.put(ARGUMENT, argument);
    this.begin(command, 0);
    this.settle();
    return this.#mailbox.get(ARGUMENT);
  }

  /** Number of rows that the store is for. */
  get rows(): number {
    const { tableRows, shard = WHOLE } = this.#memory.options;
    return rowsOf(shard, tableRows.reduce((sum, count) => sum + count, 0));
  }

  /** Waits until all jobs are done. Throws HotsetError if one failed. */
  settle(): void {
    this.wait(this.#begun - 1);
  }

  /** Number of jobs begun; the next one has this number. */
  get begun(): number {
    return this.#begun;
  }

  /**
   * The lists and records of the next job, to be filled before it is begun. Waits for the job that used this memory
   * before.
   */
  get next(): RowJob {
    const { jobs } = this.#memory;
    if (this.#begun >= jobs.length) this.wait(this.#begun - jobs.length);
    return this.job(this.#begun);
  }

  /** The lists and records of a job, to be read when it is done. */
  job(number: number): RowJob {
    return this.#memory.jobs[number % this.#memory.jobs.length];
  }

  /** Begins the next job, whose lists are filled: the first `written` rows are written, then `read` rows are read. */
  begin(written: number, read: number): void {
    const { counts, jobs } = this.#memory;
    const at = 2 * (this.#begun % jobs.length);
    counts[at] = written;
    counts[at + 1] = read;
    this.#mailbox.put(BEGUN, ++this.#begun);
  }

  /** Waits until the job with this number is done. Throws HotsetError if one failed. */
  wait(number: number): void {
    if (this.#mailbox.get(DONE) <= number) {
      const begin = performance.now();
      for (let done = this.#mailbox.get(DONE); done <= number; done = this.#mailbox.get(DONE)) {
        throwFailure(this.#mailbox);
        this.#mailbox.waitUnlessFailed(DONE, done);
      }
      this.waitedMs += performance.now() - begin;
    }
    throwFailure(this.#mailbox);
  }

  /** Counters of the store, and the bytes of its files. */
  get counts(): StoreCounts & { readonly diskBytes: number } {
    const { figures } = this.#memory;
    const counts = Object.fromEntries(COUNTS.map((name, i) => [name, figures[i]])) as unknown as StoreCounts;
    return { ...counts, diskBytes: figures[DISK_BYTES] };
  }

  /** Ends the thread and its store; files that are linked by a checkpoint remain. */
  [Symbol.dispose](): void {
    this.#mailbox.put(STOP, 1);
    this.#mailbox.put(BEGUN, -1);
    this.#mailbox.sleep(ENDED, 0, END_TIMEOUT_MS);
    this.#worker.terminate();
  }
}

/** The store's side: works until it is stopped. Reports errors through the mailbox. */
export function serveStore(
  memory: StoreMemory,
  ready: (name: string) => void,
  open: (options: RowLogOptions) => RowStore = (options) => new RowLog(options),
): void {
  const { options } = memory;
  const mailbox = new Mailbox(memory.mailbox);
  const { directory, shard } = options;
  const rows = options.tableRows.reduce((sum, count) => sum + count, 0);
  const initialOf = (saved: Pick<SavedRows, "seed" | "numbers">) =>
    initialRecords(initialRowsOf(saved, options), options);
  let initial = initialOf({ seed: 0 });
  try {
    using store = open({
      ...{ directory, rows, shard, recordWords: rowWords(options) },
      initial: (row, records, at) => initial(row, records, at),
    });
    ready(store.name);
    serve(store, memory, mailbox, (saved) => initial = initialOf(saved));
  } catch (error) {
    mailbox.words[ROW] = error instanceof NotFiniteRow ? error.row : -1;
    mailbox.fail(error);
    ready("");
  }
  mailbox.put(ENDED, 1);
}

function serve(
  store: RowStore,
  { options, counts, jobs, figures, saved }: StoreMemory,
  mailbox: Mailbox,
  setInitial: (saved: Pick<SavedRows, "seed" | "numbers">) => void,
): void {
  const parts: Uint32Array[] = [];
  for (let next = 0;; next++) {
    mailbox.wait(BEGUN, next);
    if (mailbox.get(STOP) !== 0) return;
    const at = next % jobs.length;
    const { written, read, records } = jobs[at];
    const writing = counts[2 * at], reading = counts[2 * at + 1];
    if (writing === CLEAR) {
      store.clear();
      setInitial({ seed: mailbox.get(ARGUMENT) });
    } else if (writing === NUMBER) {
      parts.push(written.slice(0, mailbox.get(ARGUMENT)));
    } else if (writing === ADOPT) {
      const from: SavedRows = readText(saved, mailbox.get(ARGUMENT));
      const numbers = numbersOf(parts.splice(0), options.tableRows);
      store.adopt({ ...from, numbers });
      setInitial({ ...from, numbers });
    } else if (writing === SEAL) {
      mailbox.put(ARGUMENT, new TextEncoder().encodeInto(JSON.stringify(store.seal()), saved).written);
    }
    if (writing > 0) store.write(written, writing, records);
    if (reading > 0) store.read(read, reading, records);
    for (let i = 0; i < COUNTS.length; i++) figures[i] = store.counts[COUNTS[i]];
    figures[DISK_BYTES] = store.diskBytes;
    mailbox.put(DONE, next + 1);
  }
}

/** The numbers in parts of their words; undefined if there is none. */
function numbersOf(parts: readonly Uint32Array[], tableRows: readonly number[]): RowNumbers | undefined {
  if (parts.length === 0) return undefined;
  const words = new Uint32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    words.set(part, at);
    at += part.length;
  }
  return RowNumbers.from(words, tableRows, "the numbers of rows");
}

function readText<T>(text: Uint8Array, bytes: number): T {
  return JSON.parse(new TextDecoder().decode(text.slice(0, bytes)));
}

/** Throws the error that ended the store, if any; of a non-finite row with its number. */
function throwFailure(mailbox: Mailbox): void {
  const { failure } = mailbox;
  if (failure === undefined) return;
  const { message, code } = failure;
  if (code === "diverged") throw new NotFiniteRow(mailbox.words[ROW] >>> 0, message);
  throw new HotsetError(message, { code });
}
