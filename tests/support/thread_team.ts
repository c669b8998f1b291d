/** A team of threads of this process: what a cluster's processes do, without starting any. */
import type { Dataset } from "../../src/dataset/dataset.ts";
import type { ShuffleOptions } from "../../src/layout/sample_shuffle.ts";
import type { Profile } from "../../src/profile/profile.ts";
import { PeerFailed, type Team } from "../../src/team.ts";

const SLOT_BYTES = 1 << 20;
const PATIENCE_MS = 20_000;

/** What the threads share, and which of them one is. */
export interface ThreadTeamMemory {
  readonly rank: number;
  readonly ranks: number;
  /** Ranks that have arrived, and how often all have. */
  readonly meeting: Int32Array;
  /** Bytes in each rank's slot. */
  readonly lengths: Int32Array;
  readonly slots: Uint8Array;
}

/** One thread's place. */
export class ThreadTeam implements Team {
  readonly rank: number;
  readonly ranks: number;
  readonly locals: number;
  readonly local: number;
  readonly #memory: ThreadTeamMemory;

  constructor(memory: ThreadTeamMemory) {
    this.rank = this.local = memory.rank;
    this.ranks = this.locals = memory.ranks;
    this.#memory = memory;
  }

  gather<T>(value: T): T[] {
    const { lengths, slots } = this.#memory;
    const { written } = new TextEncoder().encodeInto(JSON.stringify(value), slots.subarray(this.rank * SLOT_BYTES));
    lengths[this.rank] = written;
    this.#meet();
    const all = Array.from(lengths, (length, r) => {
      const text = new TextDecoder().decode(slots.slice(r * SLOT_BYTES, r * SLOT_BYTES + length));
      return JSON.parse(text);
    });
    this.#meet();
    return all;
  }

  sum(counts: Uint32Array): void {
    const all = this.gather([...counts]);
    for (let k = 0; k < counts.length; k++) counts[k] = all.reduce((sum, part) => sum + part[k], 0);
  }

  agree(error?: unknown): void {
    const failed = this.gather(error !== undefined).indexOf(true);
    if (failed >= 0) throw failed === this.rank ? error : new PeerFailed("Cannot go on: another rank failed");
  }

  #meet(): void {
    const { meeting } = this.#memory;
    const meetings = Atomics.load(meeting, 1);
    if (Atomics.add(meeting, 0, 1) === this.ranks - 1) {
      Atomics.store(meeting, 0, 0);
      Atomics.add(meeting, 1, 1);
      Atomics.notify(meeting, 1);
    } else if (Atomics.wait(meeting, 1, meetings, PATIENCE_MS) === "timed-out") {
      throw new Error("the other threads of the team do not come");
    }
  }
}

/** What each thread of a team is to do: make this layout. */
export interface LayoutTask {
  readonly dataset: string;
  readonly profile: string | undefined;
  readonly out: string;
  readonly batchSize: number;
  readonly shuffle?: ShuffleOptions;
  readonly direct?: boolean;
}

/** Has a team of threads make a layout, each of its dataset. Returns each thread's error, or undefined. */
export async function layOutWithThreads(
  datasets: readonly Dataset[],
  profile: Profile | undefined,
  options: Omit<LayoutTask, "dataset" | "profile">,
): Promise<(string | undefined)[]> {
  const ranks = datasets.length;
  const shared = (bytes: number) => new SharedArrayBuffer(bytes);
  const memory = {
    ranks,
    meeting: new Int32Array(shared(8)),
    lengths: new Int32Array(shared(4 * ranks)),
    slots: new Uint8Array(shared(ranks * SLOT_BYTES)),
  };
  return await Promise.all(
    Array.from({ length: ranks }, async (_, rank) => {
      const worker = new Worker(new URL("./thread_team_worker.ts", import.meta.url), { type: "module" });
      const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
      worker.onmessage = ({ data }) => resolve(data.error);
      worker.onerror = (event) => reject(new Error(event.message));
      const task: LayoutTask = { dataset: datasets[rank].directory, profile: profile?.directory, ...options };
      worker.postMessage({ team: { ...memory, rank }, task });
      const error = await promise;
      worker.terminate();
      return error;
    }),
  );
}
