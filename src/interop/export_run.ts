/** Writes a trained model in the formats of other projects. */
import { basename, dirname, extname, join } from "node:path";
import { breaks } from "../breaks.ts";
import { bytesOf, FileReader } from "../storage/artifact.ts";
import type { DatasetEncoding } from "../dataset/dataset_encoding.ts";
import { encodingId } from "../dataset/encoding.ts";
import { linkAt, throughLinks } from "../storage/links.ts";
import { elementsOf } from "../model/layers/layer.ts";
import { type ModelPlan, planModel } from "../model/shape.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { Report } from "../events/events.ts";
import { UsableRun } from "../run/packed_run.ts";
import { openTrainedOn, withBest } from "../run/trained_run.ts";
import type { WeightFile, WeightReader } from "../checkpoint/weights.ts";
import { type ModelTensor, tensorsOf } from "./tensors.ts";
import { onnxModel, type PlacedTensor } from "./onnx.ts";
import { SafetensorsWriter } from "./safetensors.ts";
import { AtomicFile } from "../storage/atomic_file.ts";

/** Formats of exported models. */
export const EXPORT_FORMATS = ["safetensors", "onnx"] as const;
/** A format of exported models. */
export type ExportFormat = typeof EXPORT_FORMATS[number];

/** Words that are copied at a time, which takes a few milliseconds. */
const CHUNK_WORDS = 1 << 20;
/** Alignment of tensors in an ONNX file, so that they can be mapped. */
const PAGE_BYTES = 4096;

/**
 * Writes the weights of a run's best checkpoint to `out`, and the raw values of the tables' rows to a second file; see
 * docs/interop.md. Returns the paths of the files. Copies tensors in parts, so memory does not grow with them. Throws
 * HotsetError if the run cannot be opened or a file cannot be written.
 */
export async function exportRun(
  path: string,
  format: ExportFormat,
  out: string,
  report: Report,
): Promise<string[]> {
  using opened = await UsableRun.open(path);
  const run = opened.directory;
  const dataset = await openTrainedOn(run, "export");
  const onProgress = (fraction: number) => report({ event: "stage", stage: `export: ${format}`, fraction });
  const exportTo = format === "onnx" ? exportOnnx : exportSafetensors;
  // A model refers to its weights by name in its own directory, so all files are written to the target of a link.
  const file = linkAt(out) === undefined ? out : throughLinks(out);
  const written = await withBest(run, dataset, (checkpoint) => exportTo(checkpoint, dataset, file, onProgress));
  return [...written, ...await exportIds(dataset, file)];
}

async function exportSafetensors(
  checkpoint: Checkpoint,
  dataset: DatasetEncoding,
  out: string,
  onProgress: (fraction: number) => void,
): Promise<string[]> {
  const { body } = dataset;
  const plan = planModel(checkpoint.body.model);
  const tensors = tensorsOf(plan);
  const metadata = {
    format: "pt",
    interaction: plan.shape.interaction,
    tables: body.tables.map(({ name }) => name).join(","),
    dense: body.dense.join(","),
    encoding: encodingId(dataset), // import compares it
  };
  using writer = new SafetensorsWriter(
    out,
    tensors.map(({ name, shape }) => ({ name, shape, dtype: "F32" })),
    metadata,
  );
  await copyWeights(checkpoint, plan, tensors, (part) => writer.append(part), onProgress);
  writer.commit();
  return [out];
}

async function exportOnnx(
  checkpoint: Checkpoint,
  { body }: DatasetEncoding,
  out: string,
  onProgress: (fraction: number) => void,
): Promise<string[]> {
  const plan = planModel(checkpoint.body.model);
  const dataPath = `${out}.data`;
  using data = new AtomicFile(dataPath);
  using model = new AtomicFile(out);
  const tensors: PlacedTensor[] = [];
  const begin = (tensor: ModelTensor) => {
    data.align(PAGE_BYTES);
    tensors.push({ ...tensor, at: data.bytes });
  };
  const append = (part: Float32Array) => data.append(bytesOf(part));
  await copyWeights(checkpoint, plan, tensorsOf(plan), append, onProgress, begin);
  const tables = body.tables.map(({ name, weights }) => ({ name, weighted: weights !== undefined }));
  model.append(onnxModel({ plan, tensors, dataFile: basename(dataPath), tables, bags: body.bags }));
  data.commit();
  model.commit();
  return [out, dataPath];
}

/** Passes on the weights of all tensors in order, in parts. */
async function copyWeights(
  checkpoint: Checkpoint,
  plan: ModelPlan,
  tensors: readonly ModelTensor[],
  append: (part: Float32Array) => void,
  onProgress: (fraction: number) => void,
  begin: (tensor: ModelTensor) => void = () => {},
): Promise<void> {
  using rows = checkpoint.reader("rows.f32");
  using dense = checkpoint.reader("dense.f32");
  const readers: Record<WeightFile, WeightReader> = { "rows.f32": rows, "dense.f32": dense };
  const words = plan.rows * plan.shape.dim + plan.denseWords;
  const chunk = new Float32Array(Math.min(CHUNK_WORDS, words));
  let copied = 0;
  for (const tensor of tensors) {
    begin(tensor);
    const elements = elementsOf(tensor.shape);
    for (let done = 0; done < elements; done += chunk.length) {
      const part = chunk.subarray(0, Math.min(chunk.length, elements - done));
      readers[tensor.file].read(tensor.first + done, part);
      append(part);
      onProgress(Math.min(1, (copied += part.length) / words));
      if (breaks.due) await breaks.take();
    }
  }
}

/**
 * Writes the values of the tables' rows: u32 (rows) for each table, except row 0, as safetensors, or text as Parquet
 * (feature, value, id). Generated data has neither.
 */
async function exportIds(dataset: DatasetEncoding, out: string): Promise<string[]> {
  const stem = join(dirname(out), basename(out, extname(out)));
  const { keysPath, dictionaryPath } = dataset;
  if (keysPath !== undefined) {
    const path = `${stem}.ids.safetensors`;
    const tables = dataset.body.tables.map(({ name, rows }) => ({ name, dtype: "U32" as const, shape: [rows] }));
    using writer = new SafetensorsWriter(path, tables, { row0: "values that have no row of their own" });
    using reader = new FileReader(keysPath);
    const chunk = new Uint32Array(Math.min(CHUNK_WORDS, dataset.rows));
    for (let done = 0; done < dataset.rows; done += chunk.length) {
      const part = chunk.subarray(0, Math.min(chunk.length, dataset.rows - done));
      reader.read(4 * done, part);
      writer.append(part);
      if (breaks.due) await breaks.take();
    }
    writer.commit();
    return [path];
  }
  if (dictionaryPath === undefined) return [];
  const path = `${stem}.ids.parquet`;
  using file = new AtomicFile(path);
  using source = Deno.openSync(dictionaryPath);
  const chunk = new Uint8Array(CHUNK_WORDS);
  for (let n = source.readSync(chunk); n !== null; n = source.readSync(chunk)) {
    file.append(chunk.subarray(0, n));
    if (breaks.due) await breaks.take();
  }
  file.commit();
  return [path];
}
