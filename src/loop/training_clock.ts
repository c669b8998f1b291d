/** Time, samples and bytes that training took; a resumed run continues the totals that earlier processes recorded. */
import type { Spent } from "../events/events.ts";
import type { WorkCounts } from "../ranks/rank_group.ts";

const NOTHING: Spent = {
  samples: 0,
  seconds: 0,
  hostToDeviceBytes: 0,
  deviceToHostBytes: 0,
  bytesFromRanks: 0,
};

/** Measures the time of training steps, without evaluations and other work between them, and adds up the totals. */
export class TrainingClock {
  readonly #before: Spent;
  #samples = 0;
  #milliseconds = 0;
  #since = performance.now();

  constructor(before: Spent = NOTHING) {
    this.#before = before;
  }

  step(samples: number): void {
    this.#samples += samples;
  }

  /** Milliseconds of training in this process; also adds the time since the last call, or since `resume`. */
  elapsedMs(): number {
    const now = performance.now();
    this.#milliseconds += now - this.#since;
    this.#since = now;
    return this.#milliseconds;
  }

  /** Restarts the clock, so that the time since the last `elapsedMs` does not count. */
  resume(): void {
    this.#since = performance.now();
  }

  /** Totals of the run until the last call of `elapsedMs`. */
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
