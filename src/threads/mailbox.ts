/** Words in shared memory that threads wait for, and the error of the first thread that failed. */
import { codeOf, ERROR_CODES, type ErrorCode, messageOf } from "../errors.ts";

/** Milliseconds after which a waiting thread checks again whether another thread failed. */
const LOOK_MS = 1000;
/** Bytes reserved for the message of a failed thread. */
const MESSAGE_BYTES = 1024;
const CODES = Object.keys(ERROR_CODES) as ErrorCode[];
/** Words before those of the users: the failure, in a cache line of its own, and its message. */
const FAILED = 0, MESSAGE = 16, FIRST = MESSAGE + MESSAGE_BYTES / 4;
/** Stands for a failure's code while the message is written: no other thread may write one, and none reads it yet. */
const WRITING = -1;

/** Why a thread failed. */
export interface Failure {
  readonly message: string;
  readonly code: ErrorCode;
}

/** A mailbox with this number of words, or one that another thread created. */
export class Mailbox {
  /** Can be posted to another thread, which constructs a mailbox from it. */
  readonly memory: SharedArrayBuffer;
  /** The users' words. Reading one without having waited for it needs no atomic access. */
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly #all: Int32Array<SharedArrayBuffer>;

  constructor(from: number | SharedArrayBuffer) {
    this.memory = typeof from === "number" ? new SharedArrayBuffer(4 * (FIRST + from)) : from;
    this.#all = new Int32Array(this.memory);
    this.words = this.#all.subarray(FIRST);
  }

  /** The word at a position; also makes visible what was written before it was put there. */
  get(at: number): number {
    return Atomics.load(this.words, at);
  }

  /** Stores a word at a position and wakes the threads that wait for it. */
  put(at: number, value: number): void {
    Atomics.store(this.words, at, value);
    Atomics.notify(this.words, at);
  }

  /** Sleeps until the word at the position changes. */
  wait(at: number, value: number): void {
    while (this.get(at) === value) Atomics.wait(this.words, at, value);
  }

  /**
   * Sleeps for some milliseconds, but not while the word at the position differs from `value`, and no longer than until
   * it is put.
   */
  sleep(at: number, value: number, milliseconds: number): void {
    Atomics.wait(this.words, at, value, milliseconds);
  }

  /**
   * Sleeps until the word at the position, in the mailbox or in other shared memory, changes or a thread has failed.
   */
  waitUnlessFailed(at: number, value: number, words: Int32Array = this.words): void {
    while (Atomics.load(words, at) === value && !this.failed) Atomics.wait(words, at, value, LOOK_MS);
  }

  /** Records that this thread failed, unless another one did before, and wakes all waiting threads. */
  fail(error: unknown): void {
    if (Atomics.compareExchange(this.#all, FAILED, 0, WRITING) !== 0) return;
    const bytes = new TextEncoder().encode(messageOf(error)).subarray(0, MESSAGE_BYTES);
    new Uint8Array(this.memory, 4 * MESSAGE, MESSAGE_BYTES).set(bytes);
    Atomics.store(this.#all, FAILED, 1 + CODES.indexOf(codeOf(error)));
    for (let at = 0; at < this.words.length; at++) Atomics.notify(this.words, at);
  }

  get failed(): boolean {
    return Atomics.load(this.#all, FAILED) > 0;
  }

  /** The error of the first thread that failed. */
  get failure(): Failure | undefined {
    const failed = Atomics.load(this.#all, FAILED);
    if (failed <= 0) return undefined;
    const bytes = new Uint8Array(this.memory, 4 * MESSAGE, MESSAGE_BYTES);
    return { message: new TextDecoder().decode(bytes.slice()).replace(/\0+$/, ""), code: CODES[failed - 1] };
  }
}
