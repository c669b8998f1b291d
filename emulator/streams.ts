/**
 * Streams, events and graphs. An operation runs as late as the program's waits allow: a program that forgets to wait
 * finds the old data. Where copies are to go first, a copy on an idle stream runs at once: a program that lets a copy
 * overwrite what is still being read finds the new data.
 */

/** Something queued on a stream. */
export interface Operation {
  readonly isCopy: boolean;
  run(): void;
}

/** A point in a stream's queue. */
export class Event {
  /** How often it was recorded and how often that was reached. */
  recorded = 0;
  reached = 0;
  stream: Stream | undefined;
  /** When it was last reached, in milliseconds. */
  time = 0;
}

/** A queue of operations. */
export class Stream {
  readonly #copiesFirst: boolean;
  readonly #queue: Operation[] = [];
  #next = 0;
  /** The operations recorded for a graph, while capturing. */
  captured: Operation[] | undefined;

  constructor(copiesFirst: boolean) {
    this.#copiesFirst = copiesFirst;
  }

  enqueue(operation: Operation): void {
    if (this.captured !== undefined) this.captured.push(operation);
    else if (operation.isCopy && this.#copiesFirst && this.#queue.length === 0) operation.run();
    else this.#queue.push(operation);
  }

  record(event: Event): void {
    const times = ++event.recorded;
    event.stream = this;
    this.enqueue({
      isCopy: false,
      run: () => {
        event.reached = Math.max(event.reached, times);
        event.time = performance.now();
      },
    });
  }

  /** Later operations run after what was before the event's latest record. */
  wait(event: Event): void {
    const times = event.recorded;
    this.enqueue({ isCopy: false, run: () => reach(event, times) });
  }

  /** Runs operations until none is left or `done` says so. */
  drain(done: () => boolean = () => false): void {
    while (this.#next < this.#queue.length && !done()) {
      const operation = this.#queue[this.#next++];
      if (this.#next === this.#queue.length) {
        this.#queue.length = 0;
        this.#next = 0;
      }
      operation.run();
    }
  }
}

/** Runs what an event waits for. */
export function reach(event: Event, times = event.recorded): void {
  event.stream?.drain(() => event.reached >= times);
}
