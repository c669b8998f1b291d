/** Generated sessions in the shape of Taobao: users who choose items of few categories, popular ones more often. */
import { Random } from "../random.ts";
import { SESSION_TABLES } from "./session_writer.ts";
import { type Histories, HISTORY, type History } from "./sessions.ts";

/** Rows of the tables of users, items and categories of Taobao. */
const TAOBAO_ROWS = [987_994, 4_162_024, 9_439] as const;
/** A scaled table keeps at least this many rows. */
const MIN_ROWS = 100;
/** Mean and standard deviation of the logarithm of a user's items: about 100 items, as in the data. */
const LENGTH = { mean: 4.3, deviation: 0.8 };
/** Categories that a user prefers, and the share of the items in them. */
const PREFERRED = 3;
const PREFERENCE = 0.8;
/** Random streams. */
const USER_STREAM = 1;

/** Histories of users, each a function of the seed and the user. */
export class SessionModel implements Histories {
  readonly users: number;
  readonly rows: readonly number[];
  readonly #seed: number;

  /** `scale` divides the rows of the tables. */
  constructor(seed: number, scale: number) {
    this.#seed = seed;
    this.rows = SESSION_TABLES.map((_, t) => Math.max(MIN_ROWS, Math.round(TAOBAO_ROWS[t] / scale)));
    this.users = this.rows[0] - 1;
  }

  read(user: number, history: History): void {
    const random = new Random(this.#seed, USER_STREAM, user);
    const { items, categories, negativeItems, negativeCategories } = history;
    const preferred = Array.from({ length: PREFERRED }, () => this.#category(random));
    const length = Math.round(Math.exp(LENGTH.mean + LENGTH.deviation * random.normal()));
    const kept = Math.max(2, Math.min(HISTORY, length));
    history.user = user + 1;
    const chosen = new Set<number>();
    for (let i = 0; i < HISTORY; i++) {
      if (i < HISTORY - kept) {
        items[i] = categories[i] = 0;
        continue;
      }
      categories[i] = random.uniform() < PREFERENCE ? preferred[random.below(PREFERRED)] : this.#category(random);
      items[i] = this.#item(categories[i], random);
      chosen.add(items[i]);
    }
    history.label = random.below(2);
    const last = HISTORY - 1;
    if (history.label === 0) [items[last], categories[last]] = this.#anyItem(random);
    for (let i = 0; i < HISTORY; i++) {
      do [negativeItems[i], negativeCategories[i]] = this.#anyItem(random); while (
        chosen.has(negativeItems[i]) && chosen.size < this.rows[1] / 2
      );
    }
  }

  /** A category from 1, popular ones more often. */
  #category(random: Random): number {
    return Math.floor((this.rows[2] - 1) ** random.uniform());
  }

  /** An item of a category, popular ones more often. Item i is in category 1 + (i - 1) mod the number of categories. */
  #item(category: number, random: Random): number {
    const categories = this.rows[2] - 1;
    const count = Math.floor((this.rows[1] - 1 - category) / categories) + 1;
    return category + categories * (Math.floor(count ** random.uniform()) - 1);
  }

  /** Any item with its category. */
  #anyItem(random: Random): [number, number] {
    const item = 1 + random.below(this.rows[1] - 1);
    return [item, 1 + (item - 1) % (this.rows[2] - 1)];
  }
}
