/**
 * Histories of users from a log of their behaviour, as published for TBSM (its stage 1): each ends in a target, the user's
 * last item or, with probability 1/2, another one.
 */
import { breaks } from "../breaks.ts";
import { HotsetError } from "../errors.ts";
import { bytes } from "../format.ts";
import { Random } from "../random.ts";
import type { Dataset } from "./dataset.ts";
import { type Histories, HISTORY, History } from "./sessions.ts";
import { TABLES } from "./session_writer.ts";

const CHUNK_ROWS = 1 << 16;
/** Bytes in memory for a row of the log. */
const ROW_BYTES = 8;
/** Random streams of a user. */
const TARGET = 1, NEGATIVES = 2;
/** Random stream of the order of users. */
const ORDER = 3;

export interface HistoryOptions {
  /** Name of the log, for errors. */
  readonly source: string;
  /** Share of the users who belong to the test split: those whose last rows are the latest. */
  readonly testShare: number;
  readonly seed: number;
  readonly memoryBytes: number;
}

/** The rows of a log by user; the ids of users, items and categories are those of its tables. */
interface UserRows {
  /** Rows of each table. */
  readonly rows: readonly number[];
  /** Items and categories by (user, time); those of the user with id u end before `ends[u]`. */
  readonly items: Uint32Array;
  readonly categories: Uint32Array;
  readonly ends: Float64Array;
  /** Position of each user's last row in the log; -1 for none. */
  readonly last: Float64Array;
  /** The category of the last row of each item. */
  readonly categoryOf: Uint32Array;
}

interface Pairs {
  readonly items: Uint32Array;
  readonly categories: Uint32Array;
}

/** The histories of all users of a log, those of the train split first and in random order, as published. */
export class BehaviourHistories implements Histories {
  readonly rows: readonly number[];
  readonly users: number;
  /** Number of users who do not belong to the test split. */
  readonly trainUsers: number;
  readonly #source: string;
  readonly #seed: number;
  /** Ids of users in the order of the histories. */
  readonly #order: Uint32Array;
  readonly #log: UserRows;
  /** Distinct pairs of an item and its category in all histories. */
  #pairs: Pairs = { items: new Uint32Array(0), categories: new Uint32Array(0) };

  private constructor(log: UserRows, { source, testShare, seed }: HistoryOptions) {
    this.#log = log;
    this.#source = source;
    this.#seed = seed;
    this.rows = log.rows;
    const { last } = log;
    const present = Uint32Array.from({ length: last.length }, (_, user) => user).filter((user) => last[user] >= 0);
    const sorted = last.filter((position) => position >= 0).sort();
    this.users = present.length;
    // Users whose last rows have the time of that one differ by their places in the log; as published, the last one that
    // trains is the one at the quantile.
    const split = sorted[Math.min(this.users - 1, Math.floor(this.users * (1 - testShare)))];
    const train = new Random(seed, ORDER).shuffle(present.filter((user) => last[user] <= split));
    this.trainUsers = train.length;
    this.#order = new Uint32Array(this.users);
    this.#order.set(train);
    this.#order.set(present.filter((user) => last[user] > split), train.length);
  }

  /**
   * Reads the train split of a log in the order of time, with the tables user, item and category. Throws HotsetError if
   * the rows need more memory.
   */
  static async create(log: Dataset, options: HistoryOptions): Promise<BehaviourHistories> {
    const { source, memoryBytes } = options;
    const count = log.samples("train");
    if (count * ROW_BYTES > memoryBytes) {
      throw new HotsetError(
        `Cannot make sessions of ${source}: its ${count} rows need ${
          bytes(count * ROW_BYTES)
        } of memory; allow more with --memory`,
      );
    }
    if (log.body.tables[1].rows <= 2) throw allChosen(source);
    const histories = new BehaviourHistories(await rowsByUser(log), options);
    histories.#pairs = await histories.#allPairs();
    return histories;
  }

  read(user: number, history: History): void {
    const id = this.#readPositives(user, history);
    const { items, categories, negativeItems, negativeCategories } = history;
    const pairs = this.#pairs;
    const chosen = new Set<number>();
    for (let i = 0; i < HISTORY; i++) if (items[i] > 0) chosen.add(this.#pair(items[i], categories[i]));
    if (chosen.size >= pairs.items.length) {
      throw allChosen(this.#source);
    }
    const random = new Random(this.#seed, NEGATIVES, id);
    for (let i = 0; i < HISTORY;) {
      const drawn = random.below(pairs.items.length);
      if (chosen.has(this.#pair(pairs.items[drawn], pairs.categories[drawn]))) continue;
      negativeItems[i] = pairs.items[drawn];
      negativeCategories[i++] = pairs.categories[drawn];
    }
  }

  /** Everything but the negatives. Returns the id of the user. */
  #readPositives(user: number, history: History): number {
    const id = this.#order[user];
    const { ends, categoryOf, items: allItems, categories: allCategories } = this.#log;
    const end = ends[id];
    const length = Math.min(HISTORY, end - ends[id - 1]);
    const { items, categories } = history;
    items.fill(0).set(allItems.subarray(end - length, end), HISTORY - length);
    categories.fill(0).set(allCategories.subarray(end - length, end), HISTORY - length);
    history.user = id;
    const random = new Random(this.#seed, TARGET, id);
    history.label = random.below(2);
    if (history.label === 0) {
      const last = items[HISTORY - 1];
      while (items[HISTORY - 1] === last) items[HISTORY - 1] = 1 + random.below(this.rows[1] - 1);
      categories[HISTORY - 1] = categoryOf[items[HISTORY - 1]];
    }
    return id;
  }

  #pair(item: number, category: number): number {
    return item * this.rows[2] + category;
  }

  /** The pairs of all histories. Most items have one category, so only others need a set. */
  async #allPairs(): Promise<Pairs> {
    const first = new Uint32Array(this.rows[1]);
    const further = new Set<number>();
    const history = new History();
    for (let user = 0; user < this.users; user++) {
      this.#readPositives(user, history);
      for (let i = 0; i < HISTORY; i++) {
        const item = history.items[i];
        const category = history.categories[i];
        if (item === 0 || first[item] === category) continue;
        if (first[item] === 0) first[item] = category;
        else further.add(this.#pair(item, category));
      }
      if (breaks.due) await breaks.take();
    }
    const items = Uint32Array.from({ length: first.length }, (_, item) => item).filter((item) => first[item] > 0);
    const others = [...further];
    return {
      items: joined(items, others.map((pair) => Math.floor(pair / this.rows[2]))),
      categories: joined(items.map((item) => first[item]), others.map((pair) => pair % this.rows[2])),
    };
  }
}

function allChosen(source: string): HotsetError {
  return new HotsetError(
    `Cannot make sessions of ${source}: a user has chosen all its items, so that there is no negative; use a larger log`,
  );
}

function joined(one: Uint32Array, other: readonly number[]): Uint32Array {
  const all = new Uint32Array(one.length + other.length);
  all.set(one);
  all.set(other, one.length);
  return all;
}

async function rowsByUser(log: Dataset): Promise<UserRows> {
  const rows = log.body.tables.map(({ rows }) => rows);
  const [users, items] = rows;
  const count = log.samples("train");
  const ends = new Float64Array(users);
  const last = new Float64Array(users).fill(-1);
  await eachRow(log, (user, _item, _category, position) => {
    ends[user]++;
    last[user] = position;
  });
  for (let user = 1; user < users; user++) ends[user] += ends[user - 1];
  const next = new Float64Array(users);
  next.set(ends.subarray(0, -1), 1);
  const found = { items: new Uint32Array(count), categories: new Uint32Array(count) };
  const categoryOf = new Uint32Array(items);
  await eachRow(log, (user, item, category) => {
    const at = next[user]++;
    found.items[at] = item;
    found.categories[at] = categoryOf[item] = category;
  });
  return { rows, ...found, ends, last, categoryOf };
}

/** Visits the rows of a log in the order of time, with the ids of user, item and category. */
async function eachRow(
  log: Dataset,
  visit: (user: number, item: number, category: number, position: number) => void,
): Promise<void> {
  const count = log.samples("train");
  const [, items, categories] = log.firstRows;
  using reader = log.reader("train", Math.min(CHUNK_ROWS, count));
  for (let first = 0; first < count; first += CHUNK_ROWS) {
    const { indices } = reader.readLookups(first, Math.min(CHUNK_ROWS, count - first));
    for (let i = 0, k = 0; k < indices.length; i++, k += TABLES) {
      visit(indices[k], indices[k + 1] - items, indices[k + 2] - categories, first + i);
    }
    if (breaks.due) await breaks.take();
  }
}
