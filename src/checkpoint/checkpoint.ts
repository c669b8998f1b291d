/**
 * Checkpoints: full tables, dense parameters, their optimizer state and the state of training. They do not depend on
 * the layout, the budget, the number of ranks or the device.
 */
import { z } from "zod";
import { Artifact, type ArtifactCheck } from "../storage/artifact.ts";
import { breaks } from "../breaks.ts";
import type { ArtifactWriter } from "../storage/artifact_writer.ts";
import type { Backend, Buffer, HostBackend } from "../backend/backend.ts";
import { denseStateWords, OPTIMIZER_NAMES, rowStateWords, rowWords } from "../optimizer/optimizers.ts";
import { HotsetError } from "../errors.ts";
import { pageShape } from "../embedding/stores/row_page.ts";
import { loadSavedRows, SavedRowFile } from "../embedding/stores/saved_rows.ts";
import { type SavedRows, segmentFile } from "../embedding/stores/log_segments.ts";
import type { RowGrowth } from "../embedding/stores/row_numbers.ts";
import { type Shard, WHOLE } from "../embedding/shard.ts";
import { matricesOf, type RowMatrix } from "../embedding/tables.ts";
import { modelOf, type ModelPlan, type ModelShape, planModel } from "../model/shape.ts";
import { type SchedulerState, schedulerState } from "../schedule/shuffle_scheduler.ts";
import { GrownRows } from "./grown_rows.ts";
import { type SavedLog, savedLog, savedRowsOf } from "./saved_log.ts";
import { type ByteReader, type CheckpointFile, expectFinite, WeightReader, type WordNames } from "./weights.ts";

/** Names of a checkpoint's files: f32, little-endian. The state files exist if the optimizer has state. */
export const CHECKPOINT_FILES = {
  /** Dense parameters, and their optimizer state. */
  dense: "dense.f32",
  denseState: "dense_state.f32",
  /** All rows (rows, dim), and their optimizer state (rows, rowStateWords). */
  rows: "rows.f32",
  rowState: "row_state.f32",
} as const;
/** Those for the matrices of rows. */
export const ROW_FILES = { weights: CHECKPOINT_FILES.rows, state: CHECKPOINT_FILES.rowState } as const;
/** Words copied at a time from a device to a file, and from a file to a device, which takes a few milliseconds. */
const CHUNK_WORDS = 4 << 20;
const LOAD_WORDS = 1 << 20;
/** Run id of a checkpoint that no run has written: imported weights, and no steps. */
export const IMPORTED = "imported";
const count = z.number().int().nonnegative();

const modelShape: z.ZodType<ModelShape> = z.object({
  dim: z.number().int().positive(),
  tableRows: z.array(z.number().int().positive()),
  bottom: z.array(z.number().int().positive()),
  top: z.array(z.number().int().positive()),
  interaction: z.enum(["dot", "cat"]),
  pooling: z.literal("mean").optional(),
  cross: z.object({ layers: z.number().int().positive(), rank: z.number().int().positive() }).optional(),
  model: z.enum(["mf", "deepfm", "wide-deep", "tbsm"]).optional(),
  steps: z.number().int().positive().optional(),
  optimizer: z.enum(OPTIMIZER_NAMES),
  rowInit: z.number().positive().optional(),
});

/** The state of training at a checkpoint. */
export interface TrainingState {
  /** Complete epochs. */
  epoch: number;
  /** Steps and samples since the beginning of the run. */
  step: number;
  samples: number;
  /** Steps that updated the optimizer's state: more than `step` if training started from another run's model. */
  optimizerSteps: number;
  scheduler: SchedulerState;
  /** Best AUC of the selection split so far and evaluations since; null before the first evaluation. */
  bestAuc: number | null;
  /** The lowest logloss of that split so far, if the configuration selects the best checkpoint by logloss. */
  bestLogloss?: number | undefined;
  /** Likewise the best GAUC. */
  bestGauc?: number | undefined;
  evaluationsSinceBest: number;
  /** True if the run has ended: last epoch, target or patience, or its caller ended it. */
  finished: boolean;
}

const trainingState: z.ZodType<TrainingState> = z.object({
  epoch: count,
  step: count,
  samples: count,
  optimizerSteps: count.optional(), // absent from checkpoints of version 0.1
  scheduler: schedulerState,
  bestAuc: z.number().nullable(),
  bestLogloss: z.number().optional(),
  bestGauc: z.number().optional(),
  evaluationsSinceBest: count,
  finished: z.boolean(),
}).transform((state) => ({ ...state, optimizerSteps: state.optimizerSteps ?? state.step }));

/** The state before the first step, in the key order of a resumed run; `optimizerSteps` are those of its model so far. */
export function initialState(scheduler: SchedulerState, optimizerSteps = 0): TrainingState {
  return {
    ...{ epoch: 0, step: 0, samples: 0, optimizerSteps, scheduler },
    ...{ bestAuc: null, bestLogloss: undefined, bestGauc: undefined, evaluationsSinceBest: 0 },
    finished: false,
  };
}

/** The content of a checkpoint's manifest. */
export interface CheckpointBody {
  model: ModelShape;
  seed: number;
  /** Id of the dataset whose ids the rows belong to. */
  dataset: string;
  /** Id of the run's data, batches and order; a resumed run must have the same. */
  run: string;
  state: TrainingState;
  /** Present if rows were on disk: then the checkpoint has segments of a log instead of all rows. */
  rowLog?: SavedLog | undefined;
}

/** Schema of a checkpoint's manifest. */
export const checkpointBody: z.ZodType<CheckpointBody> = z.object({
  model: modelShape,
  seed: z.number().int(),
  dataset: z.string(),
  run: z.string(),
  state: trainingState,
  rowLog: savedLog.optional(),
});

/** A vector of a run: its file in a checkpoint, its buffer, and its words per row. */
interface Vector {
  readonly file: CheckpointFile;
  readonly backend: Backend;
  readonly buffer: Buffer;
  readonly width: number;
}

/** The buffers of a model's dense parameters. */
export interface DenseMemory {
  readonly device: Backend;
  readonly parameters: Buffer;
  readonly denseState: Buffer | undefined;
}

export interface ModelMemory extends DenseMemory {
  readonly full: RowMatrix;
  readonly host: HostBackend;
}

function denseOf({ device: backend, parameters, denseState }: DenseMemory): Vector[] {
  const { dense, denseState: state } = CHECKPOINT_FILES;
  const weights = { file: dense, backend, buffer: parameters, width: 1 };
  return denseState === undefined ? [weights] : [weights, { file: state, backend, buffer: denseState, width: 1 }];
}

function rowsOf({ full }: Pick<ModelMemory, "full">, shape: ModelShape): Vector[] {
  const { backend } = full;
  return [...matricesOf(shape, full)].map(({ name, ...of }) => ({ file: ROW_FILES[name], backend, ...of }));
}

/** Writes the full tables and dense parameters to a checkpoint. Throws NotFinite. */
export function writeModel(writer: ArtifactWriter, memory: ModelMemory, names: WordNames): void {
  writeDense(writer, memory, names);
  writeVectors(writer, rowsOf(memory, names.plan.shape), names);
}

/** Writes the dense parameters, for a checkpoint whose rows are written separately. Throws NotFinite. */
export function writeDense(writer: ArtifactWriter, memory: DenseMemory, names: WordNames): void {
  writeVectors(writer, denseOf(memory), names);
}

function writeVectors(writer: ArtifactWriter, vectors: readonly Vector[], names: WordNames): void {
  const chunk = new Float32Array(CHUNK_WORDS);
  for (const { file, backend, buffer } of vectors) {
    writer.file(file); // creates the file even if it has no words
    for (let first = 0; first < buffer.words; first += CHUNK_WORDS) {
      const part = chunk.subarray(0, Math.min(CHUNK_WORDS, buffer.words - first));
      backend.download(backend.view(buffer, first, part.length), part);
      appendFinite(writer, names, file, part);
    }
  }
}

/** Appends words to a file of a checkpoint. Throws NotFinite, so that such a checkpoint is never completed. */
export function appendFinite(
  writer: ArtifactWriter,
  names: WordNames,
  name: CheckpointFile,
  words: Float32Array | Uint32Array,
): void {
  const file = writer.file(name);
  expectFinite(names, name, file.bytes / 4, words);
  file.append(words);
}

/** The vectors of a checkpoint of this model, with their lengths. */
export function vectorsOf({ shape, rows, denseWords }: ModelPlan): { file: CheckpointFile; words: number }[] {
  const { dim, optimizer } = shape;
  return [
    { file: CHECKPOINT_FILES.dense, words: denseWords },
    { file: CHECKPOINT_FILES.denseState, words: denseStateWords(optimizer, denseWords) },
    { file: CHECKPOINT_FILES.rows, words: rows * dim },
    { file: CHECKPOINT_FILES.rowState, words: rows * rowStateWords(optimizer, dim) },
  ].filter(({ words }) => words > 0);
}

/** Bytes of a checkpoint of this model with all rows. */
export function checkpointBytes(plan: ModelPlan): number {
  return vectorsOf(plan).reduce((sum, { words }) => sum + 4 * words, 0);
}

export class Checkpoint {
  readonly body: CheckpointBody;
  readonly #artifact: Artifact<CheckpointBody>;
  readonly #growth: RowGrowth | undefined;
  #saved: SavedRows | undefined;

  private constructor(artifact: Artifact<CheckpointBody>, model: ModelShape = artifact.body.model, growth?: RowGrowth) {
    this.#artifact = artifact;
    this.#growth = growth;
    this.body = { ...artifact.body, model };
  }

  /** Opens and validates a checkpoint; `check` as for a dataset. Throws HotsetError with what is wrong. */
  static open(directory: string, check: ArtifactCheck = "checksums"): Checkpoint {
    const artifact = Artifact.open("checkpoint", directory, checkpointBody, check);
    const { model, rowLog } = artifact.body;
    for (const { file, words } of vectorsOf(planModel(model))) {
      if (rowLog === undefined || !isOfRows(file)) artifact.expectBytes(file, 4 * words);
    }
    const { bytes } = pageShape(rowWords(model));
    for (const number of rowLog?.segments ?? []) artifact.expectMultiple(segmentFile(number), bytes);
    return new Checkpoint(artifact);
  }

  /** Checks the checksums of all files while the event loop turns. Returns the checkpoint. Throws like `open`. */
  async verified(): Promise<this> {
    await this.#artifact.verify();
    return this;
  }

  get directory(): string {
    return this.#artifact.directory;
  }

  /** Identifies its content: equal checkpoints have equal ids. */
  get id(): string {
    return this.#artifact.id;
  }

  /**
   * The checkpoint as one of a model whose tables have grown: without the rows that were dropped, and with initial values
   * for new ones. Throws HotsetError if anything else differs.
   */
  grownTo(model: ModelShape, growth: RowGrowth): Checkpoint {
    const grown = new Checkpoint(this.#artifact, { ...this.body.model, tableRows: model.tableRows }, growth);
    grown.expectModel(model);
    return grown;
  }

  /**
   * The segments that contain its rows, if rows were on disk; undefined if the rows should be written again. Throws
   * HotsetError.
   */
  get savedRows(): SavedRows | undefined {
    return this.#inSegments?.numbers?.areScattered ? undefined : this.#inSegments;
  }

  get #inSegments(): SavedRows | undefined {
    return this.#saved ??= savedRowsOf(this.#artifact, this.#growth, this.body.model.tableRows);
  }

  /**
   * A reader of one vector, which refuses non-finite weights. Rows in segments of a log are read as if they were in a
   * file.
   */
  reader(file: CheckpointFile): WeightReader {
    const plan = planModel(this.body.model);
    if (!isOfRows(file)) return new WeightReader(this.#artifact.open(file), this.#artifact.path(file), plan, file);
    const path = this.body.rowLog === undefined ? this.#artifact.path(file) : this.directory;
    return new WeightReader(this.#rowReader(file), path, plan, file);
  }

  #rowReader(file: CheckpointFile): ByteReader {
    const { model, seed } = this.body;
    const saved = this.#inSegments;
    const weights = file === CHECKPOINT_FILES.rows;
    if (saved !== undefined) return new SavedRowFile(saved, model, weights ? "weights" : "state");
    const rows = this.#artifact.open(file);
    if (this.#growth === undefined) return rows;
    const width = weights ? model.dim : rowStateWords(model.optimizer, model.dim);
    return new GrownRows(rows, this.#growth, model, width, weights ? seed : undefined);
  }

  /**
   * Throws HotsetError if another checkpoint has taken its place since it was opened. If not, the files opened until now
   * are its own.
   */
  expectInPlace(): void {
    this.#artifact.expectInPlace();
  }

  /** Throws HotsetError unless the checkpoint belongs to this model. */
  expectModel(model: ModelShape): void {
    // First the kind of model, which determines others of its settings.
    const keys = new Set<keyof ModelShape>(["model"]);
    for (const key of Object.keys({ ...this.body.model, ...model })) keys.add(key as keyof ModelShape);
    for (const key of keys) {
      const [saved, wanted] = [this.body.model, model]
        .map((shape) => key === "model" ? modelOf(shape) : shape[key])
        .map((value) => value === undefined ? "the default" : JSON.stringify(value));
      if (saved !== wanted) {
        throw new HotsetError(
          `Cannot load checkpoint ${this.#artifact.directory}: its ${key} is ${shorten(saved)} and the run's is ` +
            `${shorten(wanted)}`,
        );
      }
    }
  }

  /**
   * Copies the checkpoint into the memory of the same model, or the rows of one host if tables are sharded by row %
   * hosts. `onProgress` receives the completed share of rows. Throws HotsetError if the models differ or a weight is
   * not finite.
   */
  async load(
    memory: ModelMemory,
    model: ModelShape,
    { shard = WHOLE, onProgress = () => {} }: {
      shard?: Shard | undefined;
      onProgress?: ((fraction: number) => void) | undefined;
    } = {},
  ): Promise<void> {
    this.expectModel(model);
    const { rows } = planModel(model);
    await this.loadDense(memory);
    const saved = this.#inSegments;
    const { full, host } = memory;
    if (saved !== undefined && full.backend === (host as Backend) && shard.hosts === 1) {
      const state = full.state === undefined ? new Float32Array(0) : host.floats(full.state);
      loadSavedRows(saved, model, host.floats(full.weights), state);
      return onProgress(1);
    }
    const vectors = rowsOf(memory, model);
    for (const [i, vector] of vectors.entries()) {
      await this.#loadRows(vector, rows, shard, (fraction) => onProgress((i + fraction) / vectors.length));
    }
  }

  /** Copies the dense parameters into the memory of the same model. Throws HotsetError if a weight is not finite. */
  async loadDense(memory: DenseMemory): Promise<void> {
    for (const vector of denseOf(memory)) await this.#loadRows(vector, vector.buffer.words, WHOLE, () => {});
  }

  /** Reads all rows of a file, (rows, width), and keeps those of one host. */
  async #loadRows(
    { file, backend, buffer, width }: Vector,
    rows: number,
    { host, hosts }: Shard,
    onProgress: (fraction: number) => void,
  ): Promise<void> {
    using reader = this.reader(file);
    const chunkRows = hosts * Math.max(1, Math.floor(LOAD_WORDS / hosts / width));
    const chunk = new Float32Array(Math.min(chunkRows, rows) * width);
    for (let first = 0; first < rows; first += chunkRows) {
      const count = Math.min(chunkRows, rows - first);
      reader.read(first * width, chunk.subarray(0, count * width));
      const kept = Math.max(0, Math.ceil((count - host) / hosts));
      // Rows move towards the beginning of the chunk, so none overwrites a row that has not moved.
      for (let i = 0; i < kept && hosts > 1; i++) {
        chunk.copyWithin(i * width, (i * hosts + host) * width, (i * hosts + host + 1) * width);
      }
      backend.upload(chunk.subarray(0, kept * width), backend.view(buffer, first / hosts * width, kept * width));
      onProgress((first + count) / rows);
      if (breaks.due) await breaks.take();
    }
  }
}

function isOfRows(file: CheckpointFile): boolean {
  return file === CHECKPOINT_FILES.rows || file === CHECKPOINT_FILES.rowState;
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
