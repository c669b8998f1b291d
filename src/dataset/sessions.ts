/**
 * Samples of sessions as the authors of TBSM published them for Taobao: windows of a user's history, each with a candidate
 * at its end, which the user chose (label 1) or which was drawn (label 0).
 */
import { breaks } from "../breaks.ts";
import { Random } from "../random.ts";
import type { Split } from "./dataset.ts";
import { type SessionWriter, STEPS, TABLES } from "./session_writer.ts";

/** Items of a history. The last one is the target, which only the test split uses. */
export const HISTORY = 200;
const LAST = HISTORY - 1;
/** Samples of each label of a user, by the tens of steps that the history is longer than one. */
const MOST_POINTS = 10;
const POINTS = [0, 1, 3, 6];
/** Added to the seed for the validation split. */
const VALIDATION_SEED = 31;

/** One user's history, filled in by a source; ids are those of the tables, and item 0 is none. */
export class History {
  user = 0;
  /** Whether the target at the end is the user's choice. */
  label = 0;
  /** Padded on the left with 0. */
  readonly items: Uint32Array = new Uint32Array(HISTORY);
  readonly categories: Uint32Array = new Uint32Array(HISTORY);
  /** Items that the user has not chosen. */
  readonly negativeItems: Uint32Array = new Uint32Array(HISTORY);
  readonly negativeCategories: Uint32Array = new Uint32Array(HISTORY);
}

/** Users with their histories. */
export interface Histories {
  /** Rows of each table. */
  readonly rows: readonly number[];
  /** Fills in the history of a user, from 0. */
  read(user: number, history: History): void;
}

/** Consecutive users. */
export interface Users {
  readonly first: number;
  readonly end: number;
}

/** A sample: where its history ends, and the number of its negative, or undefined if its candidate is the next item. */
interface Window {
  readonly end: number;
  readonly negative: number | undefined;
}

/**
 * The windows of a history, as published: `most` at most of each label, those with the label 1 first. The positive ones
 * end in their candidate.
 */
export function windowsOf(history: Pick<History, "items">, random: Random, most: number): Window[] {
  const first = Math.max(0, history.items.findIndex((item) => item > 0));
  const tens = Math.floor((LAST - first) / 10);
  const points = Math.min(POINTS[tens] ?? MOST_POINTS, most);
  const end = (steps: number) => {
    const least = Math.min(first + steps, LAST - 1);
    return least + random.below(LAST - least);
  };
  return [
    ...Array.from({ length: points }, () => ({ end: end(STEPS - 1), negative: undefined })),
    ...Array.from({ length: points }, () => ({ end: end(STEPS - 2), negative: random.below(LAST) })),
  ];
}

/**
 * Writes windows of consecutive users to a split, at most `samples`; of the test split one for each user, with the target
 * at the end of the history. Returns the user after the last one. `onUser` is called after each of them.
 */
export async function writeWindows(
  writer: SessionWriter,
  split: Split,
  histories: Histories,
  { seed, users: { first, end }, samples = Infinity, onUser = () => {} }: {
    readonly seed: number;
    readonly users: Users;
    readonly samples?: number;
    readonly onUser?: () => void;
  },
): Promise<number> {
  const { rows: [users, items] } = histories;
  const history = new History();
  const row = new Uint32Array(STEPS * TABLES);
  const most = split === "train" ? MOST_POINTS : 1;
  let user = first;
  for (; user < end && writer.samples(split) < samples; user++) {
    histories.read(user, history);
    const random = new Random(split === "validation" ? seed + VALIDATION_SEED : seed, user);
    const windows = split === "test" ? [{ end: LAST, negative: undefined }] : windowsOf(history, random, most);
    for (const window of windows) {
      if (writer.samples(split) === samples) break;
      fill(row, history, window, users, users + items);
      writer.add(split, split === "test" ? history.label : window.negative === undefined ? 1 : 0, row);
    }
    if (breaks.due) await breaks.take();
    onUser();
  }
  return user;
}

/** The global rows of a window; the tables of items and of categories begin at the given rows. */
function fill(rows: Uint32Array, history: History, { end, negative }: Window, items: number, categories: number): void {
  // A window with a negative ends in the step before the candidate.
  const first = negative === undefined ? end - (STEPS - 1) : end - (STEPS - 2);
  for (let step = 0, at = 0; step < STEPS; step++) {
    const isNegative = negative !== undefined && step === STEPS - 1;
    rows[at++] = history.user;
    rows[at++] = items + (isNegative ? history.negativeItems[negative] : history.items[first + step]);
    rows[at++] = categories + (isNegative ? history.negativeCategories[negative] : history.categories[first + step]);
  }
}
