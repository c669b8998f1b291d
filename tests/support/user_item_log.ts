/**
 * A log of users and items like public ones (Gowalla, MovieLens): two tables with power-law use, positives from a
 * planted low-rank preference, and for each positive a negative drawn uniformly from the items that its user never
 * chose. One dense feature is constant.
 */
import type { Dataset } from "../../src/dataset/dataset.ts";
import { Random } from "../../src/random.ts";
import { type PlainSplit, writeDataset } from "./tiny_dataset.ts";

/** Options of the log. */
export interface UserItemOptions {
  readonly users: number;
  readonly items: number;
  /** Number of positives of all splits. */
  readonly positives: number;
  /** Order of the train and validation samples together: random, or grouped by user. */
  readonly order: "random" | "users";
  readonly seed: number;
}

/** Length of the planted vectors, and the spread of a preference. */
const RANK = 4, STRENGTH = 3;
/** Number of popular items from which a user chooses one, by preference. */
const CANDIDATES = 50;
/** Use of users and items by popularity rank: rank ** -EXPONENT. */
const EXPONENT = 0.8;
const TEST_SHARE = 0.1, VALIDATION_SHARE = 0.05;

interface Choice {
  readonly user: number;
  readonly item: number;
  readonly label: number;
}

/** Writes the log as a dataset. The test split is a random part, the validation split the end of the rest. */
export function userItemLog(directory: string, { users, items, positives, order, seed }: UserItemOptions): Dataset {
  const random = new Random(seed);
  const vectors = (count: number) => Float64Array.from({ length: count * RANK }, () => random.normal());
  const tastes = vectors(users), traits = vectors(items);
  const user = popularity(users, random), item = popularity(items, random);
  const chosen = Array.from({ length: users }, () => new Set<number>());
  const pairs: { user: number; item: number }[] = [];
  while (pairs.length < positives) {
    const u = user();
    let best = -1, most = -Infinity;
    for (let c = 0; c < CANDIDATES; c++) {
      const i = item();
      let preference = 0;
      for (let k = 0; k < RANK; k++) preference += tastes[u * RANK + k] * traits[i * RANK + k];
      // The largest sum with Gumbel noise is a draw from the softmax.
      const score = STRENGTH * preference / Math.sqrt(RANK) - Math.log(-Math.log(random.uniform() || Number.MIN_VALUE));
      if (score > most && !chosen[u].has(i)) [best, most] = [i, score];
    }
    if (best < 0) continue;
    chosen[u].add(best);
    pairs.push({ user: u, item: best });
  }
  const choices = pairs.flatMap(({ user, item }): Choice[] => {
    let other = random.below(items);
    while (chosen[user].has(other)) other = random.below(items);
    return [{ user, item, label: 1 }, { user, item: other, label: 0 }];
  });
  const places = random.shuffle(Uint32Array.from(choices, (_, i) => i));
  const shuffled = Array.from(places, (place) => choices[place]);
  const test = shuffled.splice(0, Math.floor(TEST_SHARE * choices.length));
  if (order === "users") shuffled.sort((a, b) => a.user - b.user);
  const validation = shuffled.splice(shuffled.length - Math.floor(VALIDATION_SHARE * choices.length));
  return writeDataset(directory, {
    tableRows: [users, items],
    denseFeatures: 1,
    splits: { train: splitOf(shuffled), validation: splitOf(validation), test: splitOf(test) },
  });
}

function splitOf(choices: readonly Choice[]): PlainSplit {
  return {
    labels: Uint8Array.from(choices, ({ label }) => label),
    dense: new Float32Array(choices.length).fill(1),
    ids: Uint32Array.from(choices.flatMap(({ user, item }) => [user, item])),
  };
}

/** Draws numbers below `count` by a power law; the popularity of a number is independent of its size. */
function popularity(count: number, random: Random): () => number {
  const ids = random.shuffle(Uint32Array.from({ length: count }, (_, i) => i));
  const sums = new Float64Array(count);
  for (let rank = 0, sum = 0; rank < count; rank++) sums[rank] = sum += (rank + 10) ** -EXPONENT;
  return () => {
    const target = random.uniform() * sums[count - 1];
    let low = 0;
    for (let high = count - 1; low < high;) {
      const middle = (low + high) >>> 1;
      if (sums[middle] <= target) low = middle + 1;
      else high = middle;
    }
    return ids[low];
  };
}
