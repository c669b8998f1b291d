/** A line about work in progress, as wide as the terminal. */
import { count, duration } from "../format.ts";

/** Milliseconds of work before the remaining time is estimated. */
const ESTIMATE_AFTER_MS = 2000;
const MAX_BAR = 28;
const MIN_BAR = 6;

/** Estimates the remaining time of work from its mean speed since it was first seen, which hardly changes from line to line. */
export class RemainingTime {
  #first: { readonly fraction: number; readonly ms: number } | undefined;

  /** Seconds that remain when this share is complete at this time; undefined until enough was seen. */
  after(fraction: number, ms: number): number | undefined {
    this.#first ??= { fraction, ms };
    const [done, elapsed] = [fraction - this.#first.fraction, ms - this.#first.ms];
    if (done <= 0 || elapsed < ESTIMATE_AFTER_MS) return undefined;
    return (1 - fraction) * elapsed / done / 1000;
  }
}

/** Work in progress. */
export interface Progress {
  /** What is done. */
  readonly name: string;
  /** Its completed share, 0 to 1. */
  readonly fraction: number;
  /** Seconds that remain, if known. */
  readonly remaining: number | undefined;
  /** Of training. */
  readonly training?: {
    readonly steps: number;
    /** The current epoch, from 1, and their number. */
    readonly epoch: number;
    readonly epochs?: number | undefined;
    readonly samplesPerSecond: number;
    readonly loss: number;
    readonly hotShare: number;
  } | undefined;
}

/** The parts of a line in their order, each with its rank: of those that do not fit, the highest are left out. */
function partsOf({ fraction, remaining, training }: Progress): [rank: number, text: string][] {
  const eta: [number, string][] = remaining === undefined ? [] : [[2, `ETA ${duration(remaining)}`]];
  if (training === undefined) return [[1, `${Math.floor(100 * fraction)}%`], ...eta];
  const { steps, epoch, epochs, samplesPerSecond, loss, hotShare } = training;
  return [
    [1, `step ${count(fraction * steps)}/${count(steps)}`],
    [4, `epoch ${epoch}${epochs === undefined ? "" : `/${epochs}`}`],
    ...eta,
    [5, `${count(samplesPerSecond)}/s`],
    [3, `loss ${loss.toFixed(4)}`],
    ...(hotShare === 0 ? [] : [[6, `hot ${Math.round(100 * hotShare)}%`] as [number, string]]),
  ];
}

/** The line without a bar, for output that is no terminal. */
export function progressText(progress: Progress): string {
  return `${progress.name} ${partsOf(progress).map(([, text]) => text).join(", ")}`;
}

/** The line with a bar, in at most this number of columns. */
export function progressLine(progress: Progress, columns: number): string {
  const parts = partsOf(progress);
  const textOf = () => parts.map(([, text]) => text).join(", ");
  const room = () => columns - progress.name.length - textOf().length - 1;
  while (room() < 0 && parts.length > 1) {
    const last = Math.max(...parts.map(([rank]) => rank));
    parts.splice(parts.findIndex(([rank]) => rank === last), 1);
  }
  const width = Math.min(MAX_BAR, room() - 1);
  if (width < MIN_BAR) return `${progress.name} ${textOf()}`.slice(0, columns);
  const done = Math.round(width * Math.min(1, progress.fraction));
  return `${progress.name} ${"█".repeat(done)}${"░".repeat(width - done)} ${textOf()}`;
}
