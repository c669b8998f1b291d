/** Imports a model of facebookresearch/dlrm as a run. */
import { join } from "node:path";
import { breaks } from "../breaks.ts";
import { FileReader } from "../storage/artifact.ts";
import { type ArtifactFile, ArtifactWriter } from "../storage/artifact_writer.ts";
import { denseStateWords, rowStateWords } from "../optimizer/optimizers.ts";
import { Dataset } from "../dataset/dataset.ts";
import { encodingId } from "../dataset/encoding.ts";
import { cannot, HotsetError, UsageError } from "../errors.ts";
import { removeIfEmpty } from "../storage/disk.ts";
import { throughLinks } from "../storage/links.ts";
import { elementsOf } from "../model/layers/layer.ts";
import type { ModelPlan } from "../model/shape.ts";
import { type CheckpointBody, IMPORTED, initialState } from "../checkpoint/checkpoint.ts";
import { resolveConfig, type TrainConfig } from "../config/config.ts";
import type { Report } from "../events/events.ts";
import { expectStart, planFor } from "../run/run.ts";
import { recordRun } from "../run/run_record.ts";
import { ShuffleScheduler } from "../schedule/shuffle_scheduler.ts";
import { LAST_CHECKPOINT } from "../checkpoint/checkpoint_store.ts";
import { notFinite, placeOfWord, type WeightFile } from "../checkpoint/weights.ts";
import { dlrmShape } from "./dlrm_tensors.ts";
import { type ModelTensor, tensorsOf } from "./tensors.ts";
import { SafetensorsReader } from "./safetensors.ts";

/** How the rows of the imported tables are numbered. */
export const ROW_NUMBERS = ["rows", "values"] as const;

/** Options of an import. */
export interface ImportOptions {
  /** Directory of the run's dataset. */
  readonly data: string;
  /** Directory of the run. */
  readonly out: string;
  /**
   * `rows`: row r of a table is row r of the dataset's, as in exports of Hotset. `values`: row r is the row of the
   * dataset whose raw value is r, for a dataset prepared from the integers that PyTorch was trained on. Exports of
   * Hotset record their numbering.
   */
  readonly ids?: typeof ROW_NUMBERS[number] | undefined;
  /** Configuration for further training; the file determines the shape. */
  readonly config: Partial<TrainConfig>;
}

/** Words that are copied at a time, which takes a few milliseconds. */
const CHUNK_WORDS = 1 << 20;
/** Rows that are read one by one between two breaks. */
const GATHERED_ROWS = 4096;

/**
 * Writes a run without steps whose checkpoint has the weights of a safetensors file, named as in
 * facebookresearch/dlrm's state dict. Optimizer state is initially zero. Throws HotsetError that names the tensor or
 * value that does not fit.
 */
export async function importRun(
  path: string,
  { data, out, ids: given, config }: ImportOptions,
  report: Report,
): Promise<void> {
  using file = new SafetensorsReader(path);
  for (const [name, { dtype }] of file.tensors) {
    if (dtype !== "F32") {
      throw new HotsetError(`Cannot import ${path}: ${name} is of type ${dtype}; save it with .float() first`);
    }
  }
  const shape = shapeOf(path, file);
  const [denseFeatures = 0, ...bottom] = shape.bottom;
  const { dim, top, interaction } = shape;
  const resolved = resolveConfig("kaggle", {
    ...config,
    ...{ dim, top: [...top], interaction },
    ...(denseFeatures === 0 ? { bottom: [dim] } : { denseFeatures, bottom }),
  });
  expectStart(resolved, out);
  const dataset = await Dataset.open(data, "lengths").verified();
  if (dataset.denseFeatures !== denseFeatures) {
    throw new HotsetError(
      `Cannot import ${path}: its bottom MLP has ${denseFeatures} inputs, but dataset ${data} has ` +
        `${dataset.denseFeatures} dense features`,
    );
  }
  const plan = planFor(resolved, dataset);
  const ids = rowNumbers(path, file.metadata.encoding, dataset, given);
  expectTables(path, shape.tableRows, dataset, ids);

  try {
    using writer = new ArtifactWriter("checkpoint", join(out, LAST_CHECKPOINT));
    await writeCheckpoint({ path, file, plan, report, writer }, dataset, ids, resolved);
  } catch (error) {
    removeIfEmpty(throughLinks(out)); // it may have been created for this run
    throw error;
  }
  await recordRun(out, resolved, dataset, {
    ...{ layoutId: null, from: null, device: null, blas: null, ranks: null },
    schedule: "config",
  });
}

interface Import {
  readonly path: string;
  readonly file: SafetensorsReader;
  readonly plan: ModelPlan;
  readonly report: Report;
  readonly writer: ArtifactWriter;
}

async function writeCheckpoint(
  work: Import,
  dataset: Dataset,
  ids: typeof ROW_NUMBERS[number],
  { seed, firstTurn, schedulerRate }: TrainConfig,
): Promise<void> {
  const { plan, writer } = work;
  copyDense(work);
  if (ids === "rows") await copyRows(work);
  else await gatherRows(work, dataset);
  const stateWords = rowStateWords(plan.shape.optimizer, plan.shape.dim);
  if (stateWords > 0) {
    await appendZeros(writer.file("dense_state.f32"), denseStateWords(plan.shape.optimizer, plan.denseWords));
    await appendZeros(writer.file("row_state.f32"), plan.rows * stateWords);
  }
  const body: CheckpointBody = {
    model: plan.shape,
    seed,
    dataset: dataset.id,
    run: IMPORTED,
    state: initialState(new ShuffleScheduler({ cold: 0, hot: 0 }, firstTurn, schedulerRate).state),
  };
  writer.commit(body);
}

/** The numbering of a file's rows. Throws HotsetError if it is unknown, or known to be another one. */
function rowNumbers(
  path: string,
  encoding: string | undefined,
  dataset: Dataset,
  given: ImportOptions["ids"],
): typeof ROW_NUMBERS[number] {
  if (encoding === undefined) {
    if (given !== undefined) return given;
    throw new UsageError(
      `Cannot import ${path}: it does not say how its rows are numbered; add --ids values for raw values, or ` +
        `--ids rows for the ids of dataset ${dataset.directory}`,
    );
  }
  if (given === "values") {
    throw new UsageError(
      `Cannot import ${path}: Hotset exported it, so its rows are not numbered by raw values; leave out --ids`,
    );
  }
  if (encoding === encodingId(dataset)) return "rows";
  throw new HotsetError(
    `Cannot import ${path} for dataset ${dataset.directory}: it was exported from a run on data with another dictionary ` +
      `or other features, so its rows stand for other values; name that run's dataset with --data`,
  );
}

function shapeOf(path: string, { tensors }: SafetensorsReader) {
  try {
    return dlrmShape(tensors);
  } catch (error) {
    if (error instanceof HotsetError) throw new HotsetError(`Cannot import ${path}: ${error.message}`);
    throw error;
  }
}

/** Throws HotsetError unless the file has a row for every row of the dataset's tables. */
function expectTables(
  path: string,
  tableRows: readonly number[],
  dataset: Dataset,
  ids: typeof ROW_NUMBERS[number],
): void {
  const { tables } = dataset.body;
  const fail = cannot(`import ${path} for dataset ${dataset.directory}`);
  if (tableRows.length !== tables.length) {
    fail(`it has ${tableRows.length} embedding tables, but the dataset has ${tables.length}`);
  }
  if (ids === "values" && dataset.keysPath === undefined) {
    fail("the values of the dataset are not numbers, so rows cannot be found by value");
  }
  if (ids === "values") return;
  tables.forEach(({ name, rows }, t) => {
    if (rows === tableRows[t]) return;
    fail(
      `emb_l.${t}.weight has ${tableRows[t]} rows and table ${name} has ${rows}` +
        (dataset.keysPath === undefined ? "" : "; if its rows are numbered by raw values, add --ids values"),
    );
  });
}

/** The MLPs, with zeros between parameters as in the plan. */
function copyDense({ path, file, plan, writer }: Import): void {
  const dense = new Float32Array(plan.denseWords);
  for (const tensor of tensorsOf(plan)) {
    if (tensor.file !== "dense.f32") continue;
    file.read(file.tensors.get(tensor.name)!, 0, dense.subarray(tensor.first, tensor.first + elementsOf(tensor.shape)));
  }
  expectNumbers(path, plan, "dense.f32", 0, dense);
  writer.file("dense.f32").append(dense);
}

async function copyRows({ path, file, plan, report, writer }: Import): Promise<void> {
  const chunk = new Float32Array(Math.min(CHUNK_WORDS, plan.rows * plan.shape.dim));
  for (const tensor of tables(plan)) {
    const elements = elementsOf(tensor.shape);
    for (let done = 0; done < elements; done += chunk.length) {
      const part = chunk.subarray(0, Math.min(chunk.length, elements - done));
      file.read(file.tensors.get(tensor.name)!, done, part);
      expectNumbers(path, plan, "rows.f32", tensor.first + done, part);
      writer.file("rows.f32").append(part);
      report({ event: "stage", stage: "import", fraction: (tensor.first + done) / (plan.rows * plan.shape.dim) });
      if (breaks.due) await breaks.take();
    }
  }
}

/**
 * Rows by the raw values of the dataset. Row 0, which all values without a row share, becomes 0, the mean of initial
 * rows.
 */
async function gatherRows({ path, file, plan, report, writer }: Import, dataset: Dataset): Promise<void> {
  const { dim } = plan.shape;
  using keysReader = new FileReader(dataset.keysPath!);
  const chunk = new Float32Array(Math.min(GATHERED_ROWS, plan.rows) * dim);
  const keys = new Uint32Array(chunk.length / dim);
  for (const [t, { name, first }] of tables(plan).entries()) {
    const tensor = file.tensors.get(name)!;
    const rows = plan.shape.tableRows[t];
    for (let done = 0; done < rows; done += keys.length) {
      const count = Math.min(keys.length, rows - done);
      keysReader.read(4 * (first / dim + done), keys.subarray(0, count));
      for (let i = 0; i < count; i++) {
        const target = chunk.subarray(i * dim, (i + 1) * dim);
        if (done + i === 0) target.fill(0);
        else if (keys[i] < tensor.shape[0]) file.read(tensor, keys[i] * dim, target);
        else {
          throw new HotsetError(
            `Cannot import ${path}: ${name} has ${tensor.shape[0]} rows and table ${
              dataset.body.tables[t].name
            } of the ` +
              `dataset has the value ${keys[i]}`,
          );
        }
      }
      const part = chunk.subarray(0, count * dim);
      expectNumbers(path, plan, "rows.f32", first + done * dim, part);
      writer.file("rows.f32").append(part);
      report({ event: "stage", stage: "import", fraction: (first / dim + done) / plan.rows });
      if (breaks.due) await breaks.take();
    }
  }
}

function tables(plan: ModelPlan): ModelTensor[] {
  return tensorsOf(plan).filter(({ file }) => file === "rows.f32");
}

function expectNumbers(path: string, plan: ModelPlan, file: WeightFile, first: number, values: Float32Array): void {
  const wrong = notFinite(values);
  if (wrong < 0) return;
  throw new HotsetError(`Cannot import ${path}: ${placeOfWord(plan, file, first + wrong)} holds ${values[wrong]}`);
}

async function appendZeros(file: ArtifactFile, words: number): Promise<void> {
  const chunk = new Float32Array(Math.min(CHUNK_WORDS, words));
  for (let done = 0; done < words; done += chunk.length) {
    file.append(chunk.subarray(0, words - done));
    if (breaks.due) await breaks.take();
  }
}
