/**
 * Streams, events and graphs. By default an operation runs as late as the program's waits allow: a program that forgets
 * to wait reads old data. With `copiesFirst` a copy on an idle stream runs immediately: a program that lets a copy
 * overwrite data in use reads new data.
 */

/** A queued operation. */
export interface Operation {
  readonly isCopy: boolean;
  run(): void;
}

/** A point in a stream's queue. */
export class Event {
  /** How often it was recorded, and how many of these records have been reached. */
  recorded = 0;
  reached = 0;
  stream: Stream | undefined;
  /** Time at which it was last reached, in milliseconds. */
  time = 0;
}

/** A queue of operations. */
export class Stream {
  readonly #copiesFirst: boolean;
  readonly #queue: Operation[] = [];
  #next = 0;
  /** While capturing: the operations recorded for a graph. */
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

  /** Makes later operations run after the operations before the event's latest record. */
  wait(event: Event): void {
    const times = event.recorded;
    this.enqueue({ isCopy: false, run: () => reach(event, times) });
  }

  /** Runs operations until the queue is empty or `done` returns true. */
  drain(done: () => boolean = () => false): void {
    while (this.#next < this.#queue.length && !done()) this.advance();
  }

  /** Runs the next operation, if there is one. Returns true if the queue is empty then. */
  advance(): boolean {
    const operation = this.#queue[this.#next++];
    if (this.#next >= this.#queue.length) {
      this.#queue.length = 0;
      this.#next = 0;
    }
    operation?.run();
    return this.#queue.length === 0;
  }
}

/** Runs the operations that an event waits for. */
export function reach(event: Event, times = event.recorded): void {
  event.stream?.drain(() => event.reached >= times);
}
