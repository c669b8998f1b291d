/** Scores the rows of concurrent requests together, in small batches so that no request waits long for another. */
import type { Row } from "../dataset/row_encoder.ts";
import { setImmediate } from "node:timers";
import { breaks } from "../breaks.ts";
import { Refused } from "./request_body.ts";
import type { ScoringModel } from "./scoring_model.ts";

/** Maximum rows of a batch. Scoring blocks the event loop, which continues after each batch. */
const MAX_ROWS = 256;

/** The rows of one request. */
interface Job {
  /** One model scores all rows, even if a reload replaces it meanwhile. */
  readonly model: ScoringModel;
  readonly rows: readonly Row[];
  readonly probabilities: Float32Array;
  /** Number of rows that have been scored. */
  done: number;
  /** Time after which the client no longer waits, in milliseconds of performance.now(). */
  readonly deadline: number;
  readonly resolve: (probabilities: Float32Array) => void;
  readonly reject: (error: unknown) => void;
}

/** A queue of requests for probabilities. */
export class Batcher {
  /** Numbers of batches and of rows that have been scored. */
  batches = 0;
  rows = 0;
  /** Number of rows that wait. */
  waiting = 0;
  readonly #queue: Job[] = [];
  #scheduled = false;

  /** Probabilities of rows by a model. Rejects with the error of a row, or with Refused after the deadline. */
  score(model: ScoringModel, rows: readonly Row[], deadline: number): Promise<Float32Array> {
    const { promise, resolve, reject } = Promise.withResolvers<Float32Array>();
    const probabilities = new Float32Array(rows.length);
    if (rows.length === 0) return Promise.resolve(probabilities);
    this.waiting += rows.length;
    this.#queue.push({ model, rows, probabilities, done: 0, deadline, resolve, reject });
    this.#schedule();
    return promise;
  }

  /** Waits until no request for a model is left. */
  async finish(model: ScoringModel): Promise<void> {
    while (this.#queue.some((job) => job.model === model)) await breaks.take();
  }

  /** Requests that arrive before the next turn of the event loop are scored together. */
  #schedule(): void {
    if (this.#scheduled || this.#queue.length === 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#turn();
      this.#schedule();
    });
  }

  #turn(): void {
    const batch = this.#take();
    if (batch.length === 0) return;
    this.batches++;
    if (batch.length === 1 || !this.#scoreTogether(batch)) { for (const job of batch) this.#advance(job); }
  }

  /**
   * Removes the requests of the next batch: as many complete ones for the same model as fit, or one larger request
   * alone.
   */
  #take(): Job[] {
    const batch: Job[] = [];
    const now = performance.now();
    for (let rows = 0; this.#queue.length > 0;) {
      const job = this.#queue[0];
      rows += job.rows.length - job.done;
      if (batch.length > 0 && (rows > MAX_ROWS || job.model !== batch[0].model)) break;
      this.#queue.shift();
      if (job.deadline < now) this.#end(job, () => job.reject(new Refused(503, "busy", "too many rows wait")));
      else batch.push(job);
    }
    return batch;
  }

  /**
   * Returns false if any row is invalid. The caller then scores each request alone, so that only its sender gets the
   * error.
   */
  #scoreTogether(batch: readonly Job[]): boolean {
    let scored;
    try {
      scored = batch[0].model.score(batch.flatMap(({ rows }) => rows));
    } catch {
      return false;
    }
    let at = 0;
    for (const job of batch) {
      job.probabilities.set(scored.subarray(at, at += job.rows.length));
      this.#finish(job, job.rows.length);
    }
    return true;
  }

  #advance(job: Job): void {
    const { model, rows, probabilities, done, reject } = job;
    const last = Math.min(rows.length, done + MAX_ROWS);
    try {
      probabilities.set(model.score(rows, done, last), done);
    } catch (error) {
      return this.#end(job, () => reject(error));
    }
    this.#finish(job, last);
  }

  /** Records that rows before `last` are scored. A request with more rows is queued again at the end. */
  #finish(job: Job, last: number): void {
    this.rows += last - job.done;
    this.waiting -= last - job.done;
    job.done = last;
    if (last < job.rows.length) this.#queue.push(job);
    else job.resolve(job.probabilities);
  }

  #end(job: Job, tell: () => void): void {
    this.waiting -= job.rows.length - job.done;
    tell();
  }
}
