/**
 * Click logs become a {@linkcode Dataset}: prepared from files, or generated with a model planted in them.
 *
 * @example Prepare a CSV file by the schema that its columns suggest
 * ```ts
 * import assert from "node:assert/strict";
 * import { inferSchema, prepareDataset } from "@hotset/hotset/dataset";
 *
 * const folder = Deno.makeTempDirSync();
 * const rows = Array.from({ length: 1000 }, (_, i) => `${i % 3 === 0 ? 1 : 0},${i % 7}.5,city${i % 20}`);
 * Deno.writeTextFileSync(`${folder}/clicks.csv`, `clicked,price,city\n${rows.join("\n")}\n`);
 *
 * const inputs = [`${folder}/clicks.csv`];
 * const schema = await inferSchema(inputs[0]);
 * const dataset = await prepareDataset({ inputs, format: "csv", schema, out: `${folder}/clicks` });
 * assert.equal(dataset.samples("train") + dataset.samples("validation") + dataset.samples("test"), 1000);
 * assert.equal(dataset.denseFeatures, 1);
 *
 * for (const { count, labels, dense, indices } of dataset.iterate("train", 256)) { // typed arrays
 *   assert.equal(labels.length, count);
 *   assert.equal(dense.length, count); // (samples, dense features)
 *   assert.equal(indices.length, count); // global rows, (samples, tables); of bags with `offsets`
 * }
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @example Prepare rows in memory: objects, columns, or a table of apache-arrow
 * ```ts
 * import assert from "node:assert/strict";
 * import { inferSchema, prepareDataset, writeRows } from "@hotset/hotset/dataset";
 *
 * const folder = Deno.makeTempDirSync();
 * async function* clicks() { // a query, for example: rows may come over time
 *   for (let i = 0; i < 1000; i++) yield { clicked: i % 3 === 0, price: i % 7 + 0.5, tags: ["new", `brand ${i % 20}`] };
 * }
 * const inputs = [`${folder}/clicks.parquet`];
 * await writeRows(clicks(), inputs[0]);
 * const schema = await inferSchema(inputs[0]);
 * const dataset = await prepareDataset({ inputs, format: "parquet", schema, out: `${folder}/clicks` });
 * assert.equal(dataset.body.bags, true); // a sample has any number of tags
 *
 * const user = Uint32Array.from({ length: 1000 }, (_, i) => i % 9);
 * await writeRows({ clicked: user.map((id) => id % 2), user }, `${folder}/columns.parquet`);
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @example Encode new rows with the dictionary of a dataset
 * ```ts
 * import assert from "node:assert/strict";
 * import { encodeWith, prepareDataset } from "@hotset/hotset/dataset";
 *
 * const folder = Deno.makeTempDirSync();
 * const columns = [{ name: "clicked", kind: "label" }, { name: "city", kind: "sparse" }];
 * Deno.writeTextFileSync(`${folder}/schema.json`, JSON.stringify({ columns }));
 * const lines = Array.from({ length: 100 }, (_, i) => `${i % 2},city${i % 4}`);
 * Deno.writeTextFileSync(`${folder}/old.csv`, `clicked,city\n${lines.join("\n")}\n`);
 * Deno.writeTextFileSync(`${folder}/new.csv`, "city\ncity1\nan unknown one\n");
 * const dataset = await prepareDataset({
 *   ...{ inputs: [`${folder}/old.csv`], format: "csv", schema: `${folder}/schema.json`, out: `${folder}/old` },
 * });
 *
 * const inputs = [`${folder}/new.csv`];
 * const { dataset: rows, labelled } = await encodeWith(dataset, inputs, { out: `${folder}/new`, purpose: "predict" });
 * assert.equal(labelled, false);
 * using reader = rows.reader("test", 2);
 * const [known, unknown] = reader.read(0, 2).indices;
 * assert(known > 0);
 * assert.equal(unknown, 0); // row 0 of its table
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @module
 */
export {
  Dataset,
  type DatasetBody,
  type Lookups,
  SampleReader,
  type Samples,
  type Split,
} from "../src/dataset/dataset.ts";
export { DatasetEncoding, type EncodingBody } from "../src/dataset/dataset_encoding.ts";
export type { ArtifactCheck } from "../src/storage/artifact.ts";
export { type EncodeOptions, encodeWith, prepareDataset, type PrepareOptions } from "../src/dataset/prepare.ts";
export type { Fractions } from "../src/dataset/splits.ts";
export { writeRows } from "../src/dataset/write_rows.ts";
export type { ArrowTable, InputColumns, InputRow, InputValue, RowsInMemory } from "../src/dataset/rows_in_memory.ts";
export type { SingleValue } from "../src/dataset/single_value.ts";
export { inferSchema } from "../src/dataset/infer.ts";
export type { Column, LogSchema, Moment, Named } from "../src/dataset/schema.ts";
export type { FileAccount, LineAccount } from "../src/dataset/read_account.ts";
export type { BadRowPolicy } from "../src/dataset/staged_log.ts";
export type { ReadOptions } from "../src/dataset/prepare_job.ts";
export { type Format, FORMATS } from "../src/dataset/formats.ts";
export {
  type BestAuc,
  generateDataset,
  type GenerateDatasetOptions,
  type GenerateOptions,
  writeCriteoLog,
} from "../src/dataset/generate.ts";
export { type Shape, SHAPES } from "../src/dataset/published.ts";
export type { ClickModelOptions } from "../src/dataset/click_model.ts";
export type { DenseShape, NamedShape, TableShape } from "../src/dataset/table_shape.ts";
export type { TableGrowth } from "../src/dataset/growth.ts";
export type { UnknownShare } from "../src/dataset/unknown_values.ts";
export type { HostVector, ProcessGroup, RankParts, Work } from "../src/parallel/process_group.ts";
export type { NegativeOptions } from "../src/dataset/negatives.ts";
