/** Logs of consecutive days with drifting values, each encoded with the dictionary of the day before. */
import assert from "node:assert/strict";
import { type Dataset, SPLITS } from "../../src/dataset/dataset.ts";
import { growthOf } from "../../src/dataset/growth.ts";
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

/** The ids that each day's values should have, found in the plainest way. */
class ExpectedIds {
  readonly #ids: Map<string, number>[];

  constructor(tables: number) {
    this.#ids = Array.from({ length: tables }, () => new Map());
  }

  /** Gives values of a train split that occur often enough the next ids, by falling count. */
  learn(samples: readonly Sample[], order: (a: string, b: string, table: number) => number): void {
    for (const [table, ids] of this.#ids.entries()) {
      const counts = new Map<string, number>();
      for (const value of samples.flatMap((sample) => sample[table])) counts.set(value, (counts.get(value) ?? 0) + 1);
      const found = [...counts].filter(([value, count]) => count >= MIN_FREQUENCY && !ids.has(value));
      found.sort(([a, n], [b, m]) => m - n || order(a, b, table));
      for (const [value] of found) ids.set(value, ids.size + 1);
    }
  }

  /** Rows of each table. */
  get rows(): number[] {
    return this.#ids.map((ids) => ids.size + 1);
  }

  /** Ids of a sample's values, by table. */
  of(sample: Sample): number[][] {
    return sample.map((values, table) => values.map((value) => this.#ids[table].get(value) ?? 0));
  }
}

/** Encodes days of a format one after the other and compares every id with the expected one. */
export async function growingDays(format: keyof typeof FORMATS, days: number): Promise<void> {
  using directory = new TemporaryDirectory();
  const { tables, line, header, order } = FORMATS[format];
  const schema = directory.join("schema.json");
  Deno.writeTextFileSync(schema, JSON.stringify({ columns: CSV_COLUMNS }));
  const random = new Random(5, days);
  const expected = new ExpectedIds(tables);
  let known: Dataset | undefined;
  for (let day = 0; day < days; day++) {
    const samples = drawDay(format, day, random);
    const log = directory.join(`day-${day}`);
    Deno.writeTextFileSync(log, header + samples.map((sample, i) => line(sample, i % 2) + "\n").join(""));
    const dataset: Dataset = await prepareDataset({
      ...{ inputs: [log], format, out: directory.join(`data-${day}`), minFrequency: MIN_FREQUENCY, threads: 1 },
      ...(format === "csv" ? { schema } : {}),
      ...(known && { known }),
    });
    const train = dataset.samples("train");
    expected.learn(samples.slice(0, train), order);
    assert.deepEqual(dataset.body.tables.map(({ rows }) => rows), expected.rows);
    assert.deepEqual(idsOf(dataset), samples.map((sample) => expected.of(sample)), `day ${day}`);
    const counts = new Uint32Array(dataset.rows);
    for (const sample of samples.slice(0, train)) {
      expected.of(sample).forEach((ids, t) => ids.forEach((id) => counts[dataset.firstRows[t] + id]++));
    }
    assert.deepEqual(dataset.readCounts(), counts);
    assert.deepEqual(
      growthOf(dataset),
      known && expectedGrowth(dataset, known, idsOf(dataset).slice(0, train)),
      `day ${day}`,
    );
    known = dataset;
  }
}

/** What growthOf should find, from the ids of the train split by table. */
function expectedGrowth({ body: { tables } }: Dataset, known: Dataset, train: readonly number[][][]) {
  return tables.map(({ name, rows }, t) => {
    const before = known.body.tables[t].rows;
    const ids = train.flatMap((sample) => sample[t]);
    const seen = new Set(ids.filter((id) => id > 0 && id < before)).size;
    const newShare = ids.filter((id) => id >= before).length / ids.length;
    return { table: name, knownRows: before - 1, unseenRows: before - 1 - seen, newRows: rows - before, newShare };
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
