/** What the training of a run has taken: counted on from what earlier processes recorded, if it was resumed. */
import type { Spent } from "../events/events.ts";
import type { WorkCounts } from "../ranks/rank_group.ts";

const NOTHING: Spent = {
  samples: 0,
  seconds: 0,
  hostToDeviceBytes: 0,
  deviceToHostBytes: 0,
  bytesFromRanks: 0,
};

/** Adds up what this process spends. Its clock stands still while something other than training steps is done. */
export class Spending {
  readonly #before: Spent;
  #samples = 0;
  #milliseconds = 0;
  #since = performance.now();

  constructor(before: Spent = NOTHING) {
    this.#before = before;
  }

  /** Counts a step over so many samples. */
  step(samples: number): void {
    this.#samples += samples;
  }

  /** Adds the time since the clock last went on or stood still, and returns all of this process, in milliseconds. */
  lap(): number {
    const now = performance.now();
    this.#milliseconds += now - this.#since;
    this.#since = now;
    return this.#milliseconds;
  }

  /** The clock goes on from now. */
  goOn(): void {
    this.#since = performance.now();
  }

  /** All that the run has spent until the last lap. */
  total({ bytesToDevice, bytesToHost, bytesFromRanks }: WorkCounts): Spent {
    const before = this.#before;
    return {
      samples: before.samples + this.#samples,
      seconds: before.seconds + this.#milliseconds / 1000,
      hostToDeviceBytes: before.hostToDeviceBytes + bytesToDevice,
      deviceToHostBytes: before.deviceToHostBytes + bytesToHost,
      bytesFromRanks: before.bytesFromRanks + bytesFromRanks,
    };
  }
}
