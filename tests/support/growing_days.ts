/** Logs of consecutive days with drifting values, each encoded with the dictionary of the day before. */
import assert from "node:assert/strict";
import { type Dataset, SPLITS } from "../../src/dataset/dataset.ts";
import { growthOf } from "../../src/dataset/growth.ts";
import { historyOf } from "../../src/dataset/encoding.ts";
import { readHistory } from "../../src/dataset/row_history.ts";
import { prepareDataset } from "../../src/dataset/prepare.ts";
import { Random } from "../../src/random.ts";
import { TemporaryDirectory } from "./temporary.ts";

const SAMPLES = 60;
const MIN_FREQUENCY = 2;
const CRITEO_TABLES = 26;

/** A sample: its values by table, one or several. */
type Sample = readonly (readonly string[])[];

const CSV_COLUMNS = [
  { name: "y", kind: "label" },
  { name: "item", kind: "sparse" },
  { name: "user", kind: "sparse", values: "hex" },
  { name: "year", kind: "sparse" },
  { name: "tags", kind: "bag" },
];

/** How a format writes values: the value with this number in a table, and a line. */
const FORMATS = {
  csv: {
    value: (n: number, table: number) =>
      [n % 7 === 0 ? "" : `i${n}`, n.toString(16).padStart(8, "0"), `${1900 + n}`, `t${n}`][table],
    tables: 4,
    bag: 3,
    line: (sample: Sample, label: number) => [label, ...sample.map((values) => values.join("|"))].join(","),
    header: "y,item,user,year,tags\n",
    order: (a: string, b: string, table: number) => table === 2 ? Number(a) - Number(b) : a < b ? -1 : 1,
  },
  criteo: {
    value: (n: number) => (0x10 + n).toString(16).padStart(8, "0"),
    tables: CRITEO_TABLES,
    bag: -1,
    line: (sample: Sample, label: number) =>
      [label, ...Array(13).fill("1"), ...sample.map(([value]) => value)].join("\t"),
    header: "",
    order: (a: string, b: string) => parseInt(a, 16) - parseInt(b, 16),
  },
} as const;

/** Values of a day: those around a popular one, which moves from day to day. */
function drawDay(format: keyof typeof FORMATS, day: number, random: Random): Sample[] {
  const { value, tables, bag } = FORMATS[format];
  const draw = (table: number) => value(Math.max(0, Math.round(3 * day + (table + 3) * random.normal())) % 199, table);
  return Array.from(
    { length: SAMPLES },
    () =>
      Array.from(
        { length: tables },
        (_, table) => Array.from({ length: table === bag ? random.below(4) : 1 }, () => draw(table)),
      ),
  );
}

/** The rows that each day's values should have, found in the plainest way. */
class ExpectedRows {
  /** By table: number and days unseen of each value, in the order of their ids. */
  readonly #known: Map<string, { readonly number: number; unseen: number }>[];
  readonly #next: number[];

  constructor(tables: number) {
    this.#known = Array.from({ length: tables }, () => new Map());
    this.#next = Array(tables).fill(1);
  }

  /**
   * Drops values unseen for `expire` days and gives values of a train split that occur often enough the next numbers, by
   * falling count.
   */
  learn(samples: readonly Sample[], order: (a: string, b: string, table: number) => number, expire: number): void {
    for (const [table, known] of this.#known.entries()) {
      const counts = new Map<string, number>();
      for (const value of samples.flatMap((sample) => sample[table])) counts.set(value, (counts.get(value) ?? 0) + 1);
      for (const [value, row] of known) {
        row.unseen = counts.has(value) ? 0 : row.unseen + 1;
        if (row.unseen >= expire) known.delete(value);
      }
      const found = [...counts].filter(([value, count]) => count >= MIN_FREQUENCY && !known.has(value));
      found.sort(([a, n], [b, m]) => m - n || order(a, b, table));
      for (const [value] of found) known.set(value, { number: this.#next[table]++, unseen: 0 });
    }
  }

  /** Rows of each table. */
  get rows(): number[] {
    return this.#known.map((known) => known.size + 1);
  }

  /** Numbers of each table's rows, and the days that they were not seen. */
  get history(): { numbers: number[]; unseen: number[]; next: number }[] {
    return this.#known.map((known, t) => ({
      next: this.#next[t],
      numbers: [...known.values()].map(({ number }) => number),
      unseen: [...known.values()].map(({ unseen }) => unseen),
    }));
  }

  /** The values of each table's rows, by number. */
  get values(): Map<number, string>[] {
    return this.#known.map((known) => new Map([...known].map(([value, { number }]) => [number, value])));
  }

  /** A function from a sample to the ids of its values, by table. */
  get idsOf(): (sample: Sample) => number[][] {
    const ids = this.#known.map((known) => new Map([...known.keys()].map((value, i) => [value, i + 1])));
    return (sample) => sample.map((values, table) => values.map((value) => ids[table].get(value) ?? 0));
  }
}

/**
 * Encodes days of a format one after the other and compares every id and every number with the expected one. With
 * `expire` rows unseen for that many days are dropped.
 */
export async function growingDays(format: keyof typeof FORMATS, days: number, expire?: number): Promise<void> {
  using directory = new TemporaryDirectory();
  const { tables, line, header, order } = FORMATS[format];
  const schema = directory.join("schema.json");
  Deno.writeTextFileSync(schema, JSON.stringify({ columns: CSV_COLUMNS }));
  const random = new Random(5, days);
  const expected = new ExpectedRows(tables);
  const owners: Map<number, string>[] = Array.from({ length: tables }, () => new Map());
  let known: Dataset | undefined;
  let dropped = 0;
  for (let day = 0; day < days; day++) {
    const samples = drawDay(format, day, random);
    const log = directory.join(`day-${day}`);
    Deno.writeTextFileSync(log, header + samples.map((sample, i) => line(sample, i % 2) + "\n").join(""));
    const dataset: Dataset = await prepareDataset({
      ...{ inputs: [log], format, out: directory.join(`data-${day}`), minFrequency: MIN_FREQUENCY, threads: 1 },
      ...(format === "csv" ? { schema } : {}),
      ...(known && { known, expire }),
    });
    const train = dataset.samples("train");
    const before = expected.values;
    expected.learn(samples.slice(0, train), order, expire ?? Infinity);
    const of = expected.idsOf;
    assert.deepEqual(dataset.body.tables.map(({ rows }) => rows), expected.rows);
    assert.deepEqual(idsOf(dataset), samples.map(of), `day ${day}`);
    const counts = new Uint32Array(dataset.rows);
    for (const sample of samples.slice(0, train)) {
      of(sample).forEach((ids, t) => ids.forEach((id) => counts[dataset.firstRows[t] + id]++));
    }
    assert.deepEqual(await dataset.readCounts(), counts);
    assert.deepEqual(historiesOf(dataset), expected.history, `day ${day}`);
    // A number belongs to one value for ever.
    for (const [t, values] of expected.values.entries()) {
      for (const [number, value] of values) {
        assert.equal(owners[t].get(number) ?? value, value);
        owners[t].set(number, value);
      }
    }
    const lost = before.map((values, t) => [...values.keys()].filter((n) => !expected.values[t].has(n)).length);
    const growth = await growthOf(dataset);
    assert.deepEqual(
      growth,
      known && expectedGrowth(dataset, known, idsOf(dataset).slice(0, train), lost),
      `day ${day}`,
    );
    dropped += lost.reduce((sum, rows) => sum + rows, 0);
    known = dataset;
  }
  assert.equal(dropped > 0, expire !== undefined, "else this proves nothing");
}

/** What growthOf should find, from the ids of the train split by table and the dropped rows. */
function expectedGrowth(
  { body: { tables } }: Dataset,
  known: Dataset,
  train: readonly number[][][],
  lost: readonly number[],
) {
  return tables.map(({ name, rows }, t) => {
    const before = known.body.tables[t].rows;
    const kept = before - lost[t];
    const ids = train.flatMap((sample) => sample[t]);
    const seen = new Set(ids.filter((id) => id > 0 && id < kept)).size;
    const newShare = ids.filter((id) => id >= kept).length / ids.length;
    return {
      ...{ table: name, knownRows: before - 1, unseenRows: before - 1 - seen, droppedRows: lost[t] },
      ...{ newRows: rows - kept, newShare },
    };
  });
}

/** The history of each table's rows. */
function historiesOf(dataset: Dataset) {
  return dataset.body.tables.map((_, t) => {
    const { next, numbers, unseen } = readHistory(historyOf(dataset, t));
    return { next, numbers: [...numbers], unseen: [...unseen] };
  });
}

/** The ids of all samples in the order of the log, by table. */
function idsOf(dataset: Dataset): number[][][] {
  return SPLITS.flatMap((split) => {
    const count = dataset.samples(split);
    using reader = dataset.reader(split, count);
    const { indices, offsets } = reader.read(0, count);
    return Array.from({ length: count }, (_, i) =>
      Array.from({ length: dataset.tables }, (_, t) => {
        const bag = i * dataset.tables + t;
        const [begin, end] = offsets === undefined ? [bag, bag + 1] : [offsets[bag], offsets[bag + 1]];
        return [...indices.subarray(begin, end)].map((row) => row - dataset.firstRows[t]);
      }));
  });
}
