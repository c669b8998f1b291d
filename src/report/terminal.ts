/** Progress bars and short lines on stderr. */
import process from "node:process";
import cliProgress from "cli-progress";
import type { Split } from "../dataset/dataset.ts";
import type { UnknownShare } from "../dataset/unknown_values.ts";
import type { Report, RunEvent } from "../events/events.ts";
import { count, percent, seconds, unknownText, wrapped } from "../format.ts";
import { type Progress, progressLine, progressText, RemainingTime } from "./progress_line.ts";

/** Milliseconds after which a stage shows a bar. */
const BAR_AFTER_MS = 1000;
/** Minimum milliseconds between lines of progress without a terminal: in the first minute, and then. */
const LINE_EVERY_MS = [5000, 60_000] as const;
/** Width of a terminal that reports none. */
const COLUMNS = 80;

/** Lets a program continue, to save its work, after its terminal was closed: further output is lost. */
export function outliveTerminal(): void {
  const survive = <A extends unknown[], R>(print: (...args: A) => R, lost: R) => (...args: A): R => {
    try {
      return print(...args);
    } catch (error) {
      if ((error as { code?: string }).code === "EIO") return lost;
      throw error;
    }
  };
  console.log = survive(console.log.bind(console), undefined);
  console.error = survive(console.error.bind(console), undefined);
  process.stderr.on("error", () => {}); // what fails later
  // deno-lint-ignore no-explicit-any -- the types of its overloads
  process.stderr.write = survive<any[], boolean>(process.stderr.write.bind(process.stderr), true);
}

/** Shows events on stderr. Dispose it before printing anything else. */
export class Terminal implements Disposable {
  readonly #interactive = Deno.stderr.isTerminal();
  // Read once: a terminal that was closed has no size.
  readonly #columns = this.#interactive ? Deno.consoleSize().columns || COLUMNS : Infinity;
  readonly #since = performance.now();
  #bar: { readonly key: string; readonly bar: cliProgress.SingleBar } | undefined;
  #stage = { name: "", since: 0 };
  #lastLine = 0;
  #remaining = { key: "", time: new RemainingTime() };
  /** What training reported last, since its layout. */
  #training: Progress["training"];

  /** Receives events; bind it as a Report. */
  readonly report: Report = (event: RunEvent) => {
    switch (event.event) {
      case "stage":
        return this.#showStage(event.stage, event.fraction);
      case "progress":
        this.#training = { ...event, epoch: event.epoch + 1 };
        return this.#showBar("train", event.step / event.steps);
      case "evaluation":
        return this.line(
          `${event.split} after step ${count(event.step)}: AUC ${event.auc.toFixed(4)}, logloss ` +
            `${event.logloss.toFixed(4)}, accuracy ${percent(event.accuracy)}` +
            (event.byGroup === undefined ? "" : `, GAUC ${event.byGroup.gauc.toFixed(4)}`),
        );
      case "dataset":
        return this.line(
          `Dataset ${event.directory}: ${count(event.samples.train)} + ${count(event.samples.validation)} + ` +
            `${count(event.samples.test)} samples, ${event.tables} tables of ${count(event.rows)} rows ` +
            `(${seconds(event.seconds)})` +
            unknownLine("validation", event.validationUnknownShare) + unknownLine("test", event.unknownShare),
        );
      case "encoded":
        return this.line(
          `${count(event.samples)} rows` +
            (event.skippedRows === 0 ? "" : `, ${count(event.skippedRows)} malformed ones skipped`) +
            `; they have ${unknownText(event.unknownShare)}`,
        );
      case "profile":
        return this.line(
          `Profile: ${count(event.hotRows)} hot rows receive ${percent(event.hotLookupShare)} of the lookups ` +
            `(${seconds(event.seconds)})`,
        );
      case "layout":
        // Training that follows may be that of another run.
        this.#training = undefined;
        this.#remaining = { key: "", time: new RemainingTime() };
        return this.line(
          `Layout: ${count(event.hotBatches)} hot and ${count(event.coldBatches)} cold batches, ` +
            `${percent(event.hotSampleShare)} of the samples hot (${seconds(event.seconds)})`,
        );
      case "note":
        return this.line(event.text);
      case "spent":
      case "checkpoint":
      case "phases":
      case "result":
      case "demo":
        return this.clear();
      default:
        event satisfies never;
    }
  };

  /** Prints a line above the bar, wrapped to the width of the terminal. */
  line(text: string): void {
    this.clear();
    console.error(wrapped(text, this.#columns));
  }

  /** Removes the bar. */
  clear(): void {
    this.#bar?.bar.stop();
    this.#bar = undefined;
  }

  #showStage(name: string, fraction: number): void {
    const now = performance.now();
    if (this.#stage.name !== name) this.#stage = { name, since: now };
    if (fraction >= 1) this.#stage.name = "";
    if (now - this.#stage.since > BAR_AFTER_MS) this.#showBar(name, fraction);
  }

  #showBar(key: string, fraction: number): void {
    const now = performance.now();
    if (this.#remaining.key !== key) this.#remaining = { key, time: new RemainingTime() };
    const remaining = this.#remaining.time.after(fraction, now);
    const progress = { name: key, fraction, remaining, training: key === "train" ? this.#training : undefined };
    if (!this.#interactive) {
      const [atFirst, later] = LINE_EVERY_MS;
      if (now - this.#lastLine < (now - this.#since < later ? atFirst : later)) return;
      this.#lastLine = now;
      console.error(progressText(progress));
      return;
    }
    // A line as wide as the terminal would leave the cursor in the next one.
    const payload = { line: progressLine(progress, this.#columns - 1) };
    if (this.#bar?.key !== key) {
      this.clear();
      const bar = new cliProgress.SingleBar({
        format: "{line}",
        stream: process.stderr,
        clearOnComplete: true,
        hideCursor: true,
        linewrap: null,
      });
      bar.start(1000, 0, payload);
      this.#bar = { key, bar };
    }
    this.#bar.bar.update(Math.round(1000 * fraction), payload);
    if (fraction >= 1) this.clear();
  }

  /** Removes the bar. */
  [Symbol.dispose](): void {
    this.clear();
  }
}

/** The part of a line about the unknown values of a split with samples. */
function unknownLine(split: Split, share: UnknownShare): string {
  return Object.keys(share).length === 0 ? "" : `\nThe ${split} split has ${unknownText(share)}`;
}
