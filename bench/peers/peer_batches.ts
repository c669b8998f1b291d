/** Batches of a layout as plain arrays, which PyTorch reads without decoding. */
import { join } from "node:path";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { Batch, type BatchShape } from "../../src/layout/batch.ts";
import type { Layout } from "../../src/layout/layout.ts";

/** Batches by number. */
export interface BatchSource {
  readonly shape: BatchShape;
  readonly count: number;
  read(index: number, batch: Batch): void;
}

/** The cold batches of a layout. */
export function coldBatches(layout: Layout): BatchSource {
  return {
    shape: layout.shape,
    count: layout.batches("cold"),
    read: (index, batch) => layout.readBatch("cold", index, batch),
  };
}

/** Writes the first batches of a dataset to a folder. */
export function writePeerBatches(batches: BatchSource, dataset: Dataset, out: string, most = Infinity): void {
  const { shape } = batches;
  const { denseFeatures, tables } = shape;
  Deno.mkdirSync(out, { recursive: true });
  const open = (name: string) => Deno.openSync(join(out, name), { write: true, create: true, truncate: true });
  using labels = open("labels.f32");
  using dense = open("dense.f32");
  using ids = open("ids.i64");
  const batch = new Batch(shape);
  const samples: number[] = [];
  for (let index = 0; index < Math.min(most, batches.count); index++) {
    batches.read(index, batch);
    const { sections, floats, words } = batch;
    samples.push(batch.samples);
    writeAll(labels, floats.slice(sections.labels, sections.labels + batch.samples));
    writeAll(dense, floats.slice(sections.dense, sections.dense + batch.samples * denseFeatures));
    const byTable = new BigInt64Array(batch.samples * tables);
    for (let table = 0, at = 0; table < tables; table++) {
      const firstRow = dataset.firstRows[table];
      for (let sample = 0; sample < batch.samples; sample++) {
        byTable[at++] = BigInt(words[sections.indices + sample * tables + table] - firstRow);
      }
    }
    writeAll(ids, byTable);
  }
  const tableRows = dataset.body.tables.map(({ rows }) => rows);
  Deno.writeTextFileSync(join(out, "batches.json"), JSON.stringify({ samples, denseFeatures, tables, tableRows }));
}

function writeAll(file: Deno.FsFile, values: Float32Array<ArrayBuffer> | BigInt64Array<ArrayBuffer>): void {
  const bytes = new Uint8Array(values.buffer);
  for (let written = 0; written < bytes.length;) written += file.writeSync(bytes.subarray(written));
}
