/** Rows to predict need no valid label: they are encoded like rows with valid labels. */
import assert from "node:assert/strict";
import { DuckDBInstance } from "@duckdb/node-api";
import { zipSync } from "fflate";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { encodeWith, prepareDataset } from "../../src/dataset/prepare.ts";
import { npy } from "../support/npy.ts";
import { criteoLine, denseOf, idsOf, labelsOf, TemporaryDirectory } from "./support.ts";
import { slowTest } from "../support/series.ts";

/** What nobody would take for a label; an empty text and NULL are among them. */
const NO_LABELS = ["-1", "", "2", "nan", "?", "0.5", "buy nothing"];
const CITIES = ["Rome", "Oslo", "Rome", "Bonn", "Oslo", "Rome", "Lima"];

function contents(dataset: Dataset): [number[][][], number[][], number[]] {
  return [idsOf(dataset, "test"), denseOf(dataset, "test"), labelsOf(dataset, "test")];
}

/** Encodes files to predict and fails unless each gives what the rows with good labels give. */
async function assertLabelsIgnored(directory: TemporaryDirectory, trained: Dataset, good: string, others: string[]) {
  const read = async (input: string, purpose: "predict" | "evaluate") => {
    const { dataset, labelled } = await encodeWith(trained, [input], {
      out: directory.join("encoded"),
      purpose,
      threads: 1,
    });
    return { labelled, contents: contents(dataset) };
  };
  const { labelled, contents: [ids, dense, labels] } = await read(good, "evaluate");
  assert.ok(labelled && labels.includes(1));
  const expected = { labelled: false, contents: [ids, dense, labels.map(() => 0)] };
  for (const input of others) assert.deepEqual(await read(input, "predict"), expected, input);
}

for (const header of [true, false]) {
  for (const rule of [{}, { positive: ["buy"] }, { atLeast: 4 }]) {
    Deno.test(`predict passes over labels of CSV: ${JSON.stringify(rule)}, header ${header}`, async () => {
      using directory = new TemporaryDirectory();
      const columns = [{ name: "y", kind: "label", ...rule }, { name: "city", kind: "sparse" }, {
        name: "price",
        kind: "dense",
      }];
      const schema = directory.write("schema.json", JSON.stringify({ header, columns }));
      const csv = (name: string, labels: string[] | undefined) =>
        directory.write(
          name,
          [
            ...(header ? [labels === undefined ? "city,price" : "y,city,price"] : []),
            ...CITIES.map((city, i) => `${labels === undefined ? "" : `${labels[i]},`}${city},${i}`),
          ].join("\n") + "\n",
        );
      const valid = "positive" in rule ? ["buy", "see"] : "atLeast" in rule ? ["5", "3"] : ["1", "0"];
      const good = csv("good.csv", CITIES.map((_, i) => valid[i % 2]));
      const out = directory.join("out");
      const trained = await prepareDataset({ inputs: [good], format: "csv", schema, out });
      await assertLabelsIgnored(directory, trained, good, [csv("odd.csv", NO_LABELS), csv("bare.csv", undefined)]);
    });
  }
}

slowTest("predict passes over labels of Criteo text, dlrm's binary and its .npz", async () => {
  using directory = new TemporaryDirectory();
  const text = (name: string, labels: (string | undefined)[]) =>
    directory.write(name, labels.map((label, i) => criteoLine(label, [String(i)], [`a${i % 3}`])).join(""));
  const good = text("good.tsv", NO_LABELS.map((_, i) => String(i % 2)));
  const options = { inputs: [good], format: "criteo", threads: 1, out: directory.join("out") } as const;
  const others = [text("odd.tsv", NO_LABELS), text("bare.tsv", NO_LABELS.map(() => undefined))];
  await assertLabelsIgnored(directory, await prepareDataset(options), good, others);

  const rows = NO_LABELS.map((_, i) => [i % 2, ...Array(13).fill(i), ...Array(26).fill(i % 3)]);
  const binary = (name: string, label: (i: number) => number) =>
    directory.write(name, new Uint8Array(Int32Array.from(rows.flatMap(([, ...row], i) => [label(i), ...row])).buffer));
  const dense = npy(rows.map((row) => row.slice(1, 14)));
  const sparse = npy(rows.map((row) => row.slice(14)));
  const zip = (name: string, arrays: Record<string, Uint8Array>) =>
    directory.write(name, zipSync({ "X_int.npy": dense, "X_cat.npy": sparse, ...arrays }));
  const even = binary("good.bin", (i) => i % 2);
  const unlabelled = npy(rows.map(() => [NaN]), { vector: true, double: true });
  const integers = await prepareDataset({
    inputs: [even],
    format: "dlrm",
    threads: 1,
    out: directory.join("integers"),
  });
  await assertLabelsIgnored(directory, integers, even, [
    binary("odd.bin", (i) => i - 3),
    zip("odd.npz", { "y.npy": unlabelled }),
    zip("bare.npz", {}),
  ]);
});

Deno.test("predict passes over labels of Parquet, of any type", async () => {
  using directory = new TemporaryDirectory();
  const schema = directory.write(
    "schema.json",
    JSON.stringify({ columns: [{ name: "y", kind: "label" }, { name: "city", kind: "sparse" }] }),
  );
  const connection = await (await DuckDBInstance.create()).connect();
  const write = async (name: string, y: string) => {
    const path = directory.join(name);
    const rows = CITIES.map((city, i) => `(${i}, '${city}')`).join(", ");
    await connection.run(`COPY (SELECT ${y}city FROM (VALUES ${rows}) AS r(i, city)) TO '${path}' (FORMAT parquet)`);
    return path;
  };
  const good = await write("good.parquet", "i % 2 AS y, ");
  const odd = ["NULL::DOUBLE AS y, ", "'nan'::DOUBLE AS y, ", "-1 AS y, ", "'none' AS y, ", "[i] AS y, ", ""];
  const others = await Promise.all(odd.map((y, i) => write(`odd${i}.parquet`, y)));
  connection.closeSync();
  const out = directory.join("out");
  const trained = await prepareDataset({ inputs: [good], format: "parquet", schema, out });
  await assertLabelsIgnored(directory, trained, good, others);
});
