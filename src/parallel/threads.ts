/** Groups of threads of one process, which synchronise in shared memory. */
import { Mailbox } from "../threads/mailbox.ts";
import { DONE, HostGroup } from "./host_group.ts";
import type { HostVector, RankParts, Work } from "./process_group.ts";

/** Positions in the mailbox: number of ranks that have arrived at a barrier, and number of completed barriers. */
const ARRIVED = 0;
const GENERATION = 16;
/** Words of the mailbox that the group uses; those after them are free for other purposes. */
export const GROUP_WORDS = 32;
/** Bytes that a rank passes on at a time. */
const SLOT_BYTES = 16_384;
/**
 * Polls of the barrier before sleeping; about 20 us, longer than the usual difference between ranks with equal work.
 */
const SPINS = 10_000;

/** Memory that the threads of a group share; can be posted to a worker. */
export interface ThreadGroupMemory {
  readonly size: number;
  /** Memory of the mailbox, which also stores the error that ended the group. */
  readonly mailbox: SharedArrayBuffer;
  /** Vectors that ranks exchange, by rank. */
  readonly slots: Uint8Array<SharedArrayBuffer>;
}

/** Memory for a group of `size` threads, with additional words in its mailbox. */
export function threadGroupMemory(size: number, words = 0): ThreadGroupMemory {
  const { memory: mailbox } = new Mailbox(GROUP_WORDS + words);
  return { size, mailbox, slots: new Uint8Array(new SharedArrayBuffer(size * SLOT_BYTES)) };
}

/** One thread's side of a group. */
export class ThreadGroup extends HostGroup {
  readonly #mail: Mailbox;
  readonly #slots: Uint8Array;

  constructor({ size, mailbox, slots }: ThreadGroupMemory, rank: number) {
    super({ rank, size, localRank: rank, localSize: size, sharesMemory: true });
    this.#mail = new Mailbox(mailbox);
    this.#slots = slots;
  }

  /** Throws if the group has been aborted. */
  barrier(): void {
    this.#wait();
    if (this.#mail.failed) throw new Error("Cannot continue: the ranks were stopped");
  }

  #wait(): void {
    const mail = this.#mail;
    const generation = mail.get(GENERATION);
    if (Atomics.add(mail.words, ARRIVED, 1) === this.size - 1) {
      Atomics.store(mail.words, ARRIVED, 0);
      mail.put(GENERATION, generation + 1);
      return;
    }
    for (let spin = 0; spin < SPINS; spin++) if (mail.get(GENERATION) !== generation) return;
    mail.waitUnlessFailed(GENERATION, generation);
  }

  allGather<W extends HostVector>(own: W, all: W, { counts, firsts }: RankParts): void {
    const bytes = own.BYTES_PER_ELEMENT;
    const [source, target] = [bytesOf(own), bytesOf(all)];
    for (let done = 0, end = bytes * Math.max(...counts); done < end; done += SLOT_BYTES) {
      this.#slot(this.rank).set(source.subarray(done, done + SLOT_BYTES));
      this.barrier();
      for (let r = 0; r < this.size; r++) {
        const part = this.#slot(r).subarray(0, Math.max(0, bytes * counts[r] - done));
        target.set(part, bytes * firsts[r] + Math.min(done, bytes * counts[r]));
      }
      this.barrier();
    }
  }

  allToAll<W extends HostVector>(source: W, sent: RankParts, target: W, received: RankParts): Work {
    const bytes = source.BYTES_PER_ELEMENT;
    const [from, to] = [bytesOf(source), bytesOf(target)];
    const lane = Math.floor(SLOT_BYTES / this.size);
    const most = Math.max(...this.gather(Math.max(...sent.counts)));
    for (let done = 0; done < bytes * most; done += lane) {
      const part = ({ counts, firsts }: RankParts, r: number) => {
        const first = Math.min(done, bytes * counts[r]);
        return { first: bytes * firsts[r] + first, count: Math.min(lane, bytes * counts[r] - first) };
      };
      for (let r = 0; r < this.size; r++) {
        const { first, count } = part(sent, r);
        this.#slot(this.rank).set(from.subarray(first, first + count), r * lane);
      }
      this.barrier();
      for (let r = 0; r < this.size; r++) {
        const { first, count } = part(received, r);
        to.set(this.#slot(r).subarray(this.rank * lane, this.rank * lane + count), first);
      }
      this.barrier();
    }
    return DONE;
  }

  #slot(rank: number): Uint8Array {
    return this.#slots.subarray(rank * SLOT_BYTES, (rank + 1) * SLOT_BYTES);
  }

  abort(error: unknown): void {
    this.#mail.fail(error);
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: HostVector): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
