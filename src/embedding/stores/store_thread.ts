/**
 * A row store on a thread of its own, which works while steps compute. Jobs are carried out in the order in which they are
 * begun: rows that leave the memory are written, then rows that come are read, so a row is read after it was written.
 */
import { HotsetError } from "../../errors.ts";
import { Mailbox } from "../../threads/mailbox.ts";
import { InitialRows } from "../initialise.ts";
import { NotFiniteRow, RowLog } from "./row_log.ts";
import type { RowStore, StoreCounts } from "./row_store.ts";

/** What a thread is started with; can be posted. */
export interface StoreOptions {
  /** Where its files are, without a name. */
  readonly directory: string;
  readonly tableRows: readonly number[];
  readonly dim: number;
  /** Words of optimizer state of a row, which are 0 in the beginning. */
  readonly stateWords: number;
}

/** The most jobs that are begun and not taken, and the most rows that each writes and reads. */
export interface JobSizes {
  readonly jobs: number;
  readonly rows: number;
}

/** Lists of rows and their records, (rows, recordWords), in shared memory. */
export interface RowJob {
  readonly written: Uint32Array;
  readonly writtenRecords: Float32Array;
  readonly read: Uint32Array;
  readonly readRecords: Float32Array;
}

/** What both sides share. */
interface StoreMemory {
  readonly options: StoreOptions;
  readonly jobs: readonly RowJob[];
  /** The memory of their mailbox. */
  readonly mailbox: SharedArrayBuffer;
  /** By job: how many rows it writes and reads. */
  readonly counts: Int32Array<SharedArrayBuffer>;
  /** What the store did, in the order of `COUNTS`. */
  readonly figures: Float64Array<SharedArrayBuffer>;
}

/** Words of the mailbox: jobs begun and done, the row that is not finite, the seed, the end. */
const BEGUN = 0, DONE = 1, ROW = 2, SEED = 3, STOP = 4, WORDS = 5;
/** In the place of a number of rows to write. */
const CLEAR = -1;
const COUNTS = ["rowsRead", "rowsComputed", "rowsWritten", "bytesRead", "bytesWritten", "reads", "writes"] as const;
const DISK_BYTES = COUNTS.length;

/** The side of the thread that trains. */
export class StoreThread implements Disposable {
  readonly recordWords: number;
  /** How the store reads and writes, for people. */
  readonly name: string;
  readonly #memory: StoreMemory;
  readonly #mailbox: Mailbox;
  readonly #worker: Worker;
  #begun = 0;
  /** Milliseconds in which the caller waited for jobs. */
  waitedMs = 0;

  private constructor(memory: StoreMemory, mailbox: Mailbox, worker: Worker, name: string) {
    const { dim, stateWords } = memory.options;
    this.recordWords = dim + stateWords;
    this.#memory = memory;
    this.#mailbox = mailbox;
    this.#worker = worker;
    this.name = name;
  }

  /** Starts the thread, with an empty store. Throws HotsetError if the store cannot be made. */
  static async start(options: StoreOptions, { jobs, rows }: JobSizes): Promise<StoreThread> {
    const words = (count: number) => new SharedArrayBuffer(4 * count);
    const recordWords = options.dim + options.stateWords;
    const mailbox = new Mailbox(WORDS);
    const memory: StoreMemory = {
      options,
      jobs: Array.from({ length: jobs }, () => ({
        written: new Uint32Array(words(rows)),
        writtenRecords: new Float32Array(words(rows * recordWords)),
        read: new Uint32Array(words(rows)),
        readRecords: new Float32Array(words(rows * recordWords)),
      })),
      mailbox: mailbox.memory,
      counts: new Int32Array(words(2 * jobs)),
      figures: new Float64Array(words(2 * (COUNTS.length + 1))),
    };
    const worker = new Worker(new URL("./store_worker.ts", import.meta.url), { type: "module", name: "row store" });
    try {
      const name = await new Promise<string>((resolve, reject) => {
        worker.onmessage = ({ data }: MessageEvent<string>) => resolve(data);
        worker.onerror = (event) => {
          event.preventDefault();
          reject(new HotsetError(`Cannot start the row store: ${event.message}`));
        };
        worker.postMessage(memory);
      });
      throwFailure(mailbox);
      worker.onerror = (event) => {
        event.preventDefault();
        mailbox.fail(new HotsetError(`Cannot go on: the row store's thread has died: ${event.message}`));
      };
      return new StoreThread(memory, mailbox, worker, name);
    } catch (error) {
      worker.terminate();
      throw error;
    }
  }

  /** Begins a job that forgets all rows that were written: all have the initial values of this seed. */
  clear(seed: number): void {
    this.settle();
    this.#mailbox.put(SEED, seed);
    this.begin(CLEAR, 0);
    this.settle();
  }

  /** Waits until all jobs are done. Throws HotsetError if one failed. */
  settle(): void {
    this.wait(this.#begun - 1);
  }

  /** Rows of a job, at most. */
  get jobRows(): number {
    return this.#memory.jobs[0].written.length;
  }

  /** Jobs begun so far; the next one has this number. */
  get begun(): number {
    return this.#begun;
  }

  /** The lists and records of the next job, to be filled before it is begun. Waits for the one that had this memory before. */
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

  /** Waits until the job of this number is done. Throws HotsetError if one failed. */
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

  /** What the store did so far, and the bytes of its files. */
  get counts(): StoreCounts & { readonly diskBytes: number } {
    const { figures } = this.#memory;
    const counts = Object.fromEntries(COUNTS.map((name, i) => [name, figures[i]])) as unknown as StoreCounts;
    return { ...counts, diskBytes: figures[DISK_BYTES] };
  }

  /** Ends the thread, and the store with it. */
  [Symbol.dispose](): void {
    this.#mailbox.put(STOP, 1);
    this.#mailbox.put(BEGUN, -1);
    this.#worker.terminate();
  }
}

/** The side of the store: works until it is told to stop. Nothing is thrown from here. */
export function serveStore(memory: StoreMemory, ready: (name: string) => void): void {
  const { options } = memory;
  const mailbox = new Mailbox(memory.mailbox);
  const { directory, dim, stateWords } = options;
  const rows = options.tableRows.reduce((sum, count) => sum + count, 0);
  let initial = new InitialRows(options, 0);
  const initialise = () => initial = new InitialRows(options, mailbox.get(SEED));
  try {
    using store = new RowLog({
      directory,
      rows,
      recordWords: dim + stateWords,
      initial: (row, records, at) => {
        initial.write(row, 1, records, at);
        records.fill(0, at + dim, at + dim + stateWords);
      },
    });
    ready(store.name);
    serve(store, memory, mailbox, initialise);
  } catch (error) {
    mailbox.words[ROW] = error instanceof NotFiniteRow ? error.row : -1;
    mailbox.fail(error);
    ready("");
  }
}

function serve(
  store: RowStore & { readonly diskBytes: number },
  { counts, jobs, figures }: StoreMemory,
  mailbox: Mailbox,
  initialise: () => void,
): void {
  for (let next = 0;; next++) {
    mailbox.wait(BEGUN, next);
    if (mailbox.get(STOP) !== 0) return;
    const at = next % jobs.length;
    const { written, writtenRecords, read, readRecords } = jobs[at];
    if (counts[2 * at] === CLEAR) {
      store.clear();
      initialise();
    }
    if (counts[2 * at] > 0) store.write(written, counts[2 * at], writtenRecords);
    if (counts[2 * at + 1] > 0) store.read(read, counts[2 * at + 1], readRecords);
    for (let i = 0; i < COUNTS.length; i++) figures[i] = store.counts[COUNTS[i]];
    figures[DISK_BYTES] = store.diskBytes;
    mailbox.put(DONE, next + 1);
  }
}

/** Throws the error that ended the store, if one did; of a row that is not finite with its number. */
function throwFailure(mailbox: Mailbox): void {
  const { failure } = mailbox;
  if (failure === undefined) return;
  const { message, code } = failure;
  if (code === "diverged") throw new NotFiniteRow(mailbox.words[ROW] >>> 0, message);
  throw new HotsetError(message, { code });
}
