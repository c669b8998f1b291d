/** Small runs to score with. */
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { prepareDataset, type PrepareOptions } from "../../src/dataset/prepare.ts";
import type { RowValue } from "../../src/dataset/single_value.ts";
import { startRun } from "../../src/run/run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

/** All kinds of columns that rows in memory support. */
export const COLUMNS = [
  { name: "clicked", kind: "label" },
  { name: "price", kind: "dense" },
  { name: "age", kind: "dense", transform: "none", missing: "mean" },
  { name: "when", kind: "time" },
  { name: "city", kind: "sparse" },
  { name: "shop", kind: "sparse" },
  { name: "user", kind: "sparse", values: "hex" },
  { name: "tags", kind: "bag" },
] as const;

/** The same, with weights of the tags. */
export const WEIGHTED_COLUMNS = [...COLUMNS, { name: "tag_weights", kind: "weights", of: "tags" }] as const;

/** A weight for each tag. */
export function tagWeights(tags: string): string {
  const weights = ["0.5", "1", " -2", "1e-1", "3.25"];
  return tags === "" ? "" : tags.split("|").map((tag, k) => weights[(tag.length + 2 * k) % weights.length]).join("|");
}

/** Row `i` of a log, by column; numbers as text. */
export function logRow(i: number): Record<string, string> {
  const pick = (values: readonly string[], salt: number) =>
    values[(i * 7919 + salt * 104729 + (i >> 3)) % values.length];
  const tags = pick(["a|b", "", "c", "a|a|d", "e| b", "x"], 6);
  return {
    clicked: String((i * 31 + (i >> 2)) % 3 === 0 ? 1 : 0),
    price: pick(["1", "2.5", "", "1e3", "17.25", "-4", "NaN", "0.1"], 1),
    age: pick(["30", "", "41", "55.5", "18"], 2),
    when: String(1717200000 + i * 997),
    city: pick(["Rome", "Oslo", "", "Bonn", "NA", "Lima"], 3),
    shop: pick(["5", "5.0", "7", "07", "12", "1e2", "true", ""], 4).replace("07", "8"),
    user: pick(["ff", "0a1b2c3d", "", "00000001", "DEADBEEF"], 5),
    tags,
    tag_weights: tagWeights(tags),
  };
}

/** Rows as CSV with a header. */
export function csvOf(rows: readonly Record<string, string>[], names: readonly string[]): string {
  return [names, ...rows.map((row) => names.map((name) => row[name]))].map((line) => line.join(",") + "\n").join("");
}

/** Training options of these runs. */
export const CONFIG = resolveConfig("default", {
  ...{ mode: "cpu", device: "cpu", ranks: 1, dim: 8, bottom: [40, 8], top: [72, 24, 1], batchSize: 64 },
  ...{ optimizer: "adagrad", learningRate: 0.1 },
});

/** A run on a log with all kinds of columns, in a separate directory. */
export class TrainedRun extends TemporaryDirectory {
  /** The run. */
  readonly run = this.join("run");

  /** Trains on 600 rows of `logRow`. */
  static async create(
    columns: readonly { readonly name: string }[] = COLUMNS,
    more: Partial<PrepareOptions> = {},
    layer: Partial<TrainConfig> = {},
  ): Promise<TrainedRun> {
    const directory = new TrainedRun();
    try {
      Deno.writeTextFileSync(directory.join("schema.json"), JSON.stringify({ columns }));
      const rows = Array.from({ length: 600 }, (_, i) => logRow(i));
      Deno.writeTextFileSync(directory.join("log.csv"), csvOf(rows, columns.map(({ name }) => name)));
      await directory.train({
        ...{ inputs: [directory.join("log.csv")], format: "csv", schema: directory.join("schema.json"), ...more },
      }, layer);
    } catch (error) {
      directory[Symbol.dispose]();
      throw error;
    }
    return directory;
  }

  /** Prepares a dataset and trains on it. */
  async train(options: Omit<PrepareOptions, "out">, layer: Partial<TrainConfig> = {}): Promise<Dataset> {
    const dataset = await prepareDataset({ ...options, out: this.join("data"), threads: 1 });
    await startRun({ ...CONFIG, ...layer }, dataset, { out: this.run, report: () => {} });
    return dataset;
  }
}

/** A row as a program would pass it: numbers as numbers, lists as lists, null for missing values. */
export function typedRow(row: Record<string, string>): Record<string, RowValue> {
  const number = (text: string) => text === "" ? null : Number(text);
  return {
    ...row,
    price: number(row.price),
    age: number(row.age),
    when: Number(row.when),
    tags: row.tags === "" ? [] : row.tags.split("|").map((tag) => tag.trim()),
    tag_weights: row.tags === "" ? [] : tagWeights(row.tags).split("|").map(Number),
    user: row.user === "" ? undefined : row.user,
  };
}

/** Files in a directory that a process has open; only on Linux. */
export function openFiles(directory: string, pid: number | "self" = "self"): string[] {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].flatMap(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/${pid}/fd/${name}`);
    } catch {
      return []; // closed meanwhile
    }
  }).filter((path) => path.startsWith(directory));
}
