/** Words that threads leave for each other in shared memory, where the one that waits sleeps, and why one of them failed. */
import { codeOf, ERROR_CODES, type ErrorCode, messageOf } from "../errors.ts";

/** How long a sleep lasts before looking again whether another thread failed, in milliseconds. */
const LOOK_MS = 1000;
/** Bytes kept for the message of a thread that failed. */
const MESSAGE_BYTES = 1024;
const CODES = Object.keys(ERROR_CODES) as ErrorCode[];
/** Words before those of the mailbox's users: the failure, a cache line apart from the others, and its message. */
const FAILED = 0, MESSAGE = 16, FIRST = MESSAGE + MESSAGE_BYTES / 4;
/** In place of a failure's code while its message is written: no other thread may write one, and none reads it yet. */
const WRITING = -1;

/** Why a thread failed. */
export interface Failure {
  readonly message: string;
  readonly code: ErrorCode;
}

/** A mailbox of so many words, or one that another thread has made. */
export class Mailbox {
  /** Can be posted to another thread, which makes a mailbox of it. */
  readonly memory: SharedArrayBuffer;
  /** What threads leave for each other. What is read without a wait before needs no atomic access. */
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly #all: Int32Array<SharedArrayBuffer>;

  constructor(from: number | SharedArrayBuffer) {
    this.memory = typeof from === "number" ? new SharedArrayBuffer(4 * (FIRST + from)) : from;
    this.#all = new Int32Array(this.memory);
    this.words = this.#all.subarray(FIRST);
  }

  /** The word at a position, and what was written before it was put there. */
  get(at: number): number {
    return Atomics.load(this.words, at);
  }

  /** Puts a word at a position and wakes who waits for it. */
  put(at: number, value: number): void {
    Atomics.store(this.words, at, value);
    Atomics.notify(this.words, at);
  }

  /** Sleeps until the word at the position is another one. */
  wait(at: number, value: number): void {
    while (this.get(at) === value) Atomics.wait(this.words, at, value);
  }

  /** Sleeps for so many milliseconds, or less if the word at the position is another one or changes. */
  sleep(at: number, value: number, milliseconds: number): void {
    Atomics.wait(this.words, at, value, milliseconds);
  }

  /** Sleeps until the word at the position, of the mailbox or of other shared memory, is another one or a thread has failed. */
  waitUnlessFailed(at: number, value: number, words: Int32Array = this.words): void {
    while (Atomics.load(words, at) === value && !this.failed) Atomics.wait(words, at, value, LOOK_MS);
  }

  /** Says that this thread failed, unless another one has before, and wakes all who wait. */
  fail(error: unknown): void {
    if (Atomics.compareExchange(this.#all, FAILED, 0, WRITING) !== 0) return;
    const bytes = new TextEncoder().encode(messageOf(error)).subarray(0, MESSAGE_BYTES);
    new Uint8Array(this.memory, 4 * MESSAGE, MESSAGE_BYTES).set(bytes);
    Atomics.store(this.#all, FAILED, 1 + CODES.indexOf(codeOf(error)));
    for (let at = 0; at < this.words.length; at++) Atomics.notify(this.words, at);
  }

  /** True if a thread has failed. */
  get failed(): boolean {
    return Atomics.load(this.#all, FAILED) > 0;
  }

  /** Why the first thread that did failed. */
  get failure(): Failure | undefined {
    const failed = Atomics.load(this.#all, FAILED);
    if (failed <= 0) return undefined;
    const bytes = new Uint8Array(this.memory, 4 * MESSAGE, MESSAGE_BYTES);
    return { message: new TextDecoder().decode(bytes.slice()).replace(/\0+$/, ""), code: CODES[failed - 1] };
  }
}
