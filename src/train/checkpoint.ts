/**
 * Checkpoints: the full tables, the dense parameters, their optimizer state and where training stood. Nothing in one
 * depends on the layout, the budget, the number of ranks or the device.
 */
import { z } from "zod";
import { Artifact, ArtifactWriter } from "../artifact.ts";
import { type Backend, type Buffer, stateWordsPerRow } from "../backend/backend.ts";
import { HotsetError } from "../errors.ts";
import type { EmbeddingStore } from "../model/dlrm.ts";
import { type ModelShape, planModel } from "../model/shape.ts";
import type { RunMemory } from "./rank_group.ts";
import { schedulerState } from "./scheduler.ts";
import { type CheckpointFile, WeightReader } from "./weights.ts";

/** Names of a checkpoint's files: f32, little-endian. The states are there unless the optimizer is SGD. */
export const CHECKPOINT_FILES = {
  /** Dense parameters, and one word of optimizer state for each. */
  dense: "dense.f32",
  denseState: "dense_state.f32",
  /** All rows (rows, dim), and their optimizer state (rows, stateWordsPerRow). */
  rows: "rows.f32",
  rowState: "row_state.f32",
} as const;
/** Words copied at a time between a device and a file. */
const CHUNK_WORDS = 4 << 20;
/** The run of a checkpoint that no run has written yet: weights that come from elsewhere, and no steps. */
export const IMPORTED = "imported";
const count = z.number().int().nonnegative();

const modelShape: z.ZodType<ModelShape> = z.object({
  dim: z.number().int().positive(),
  tableRows: z.array(z.number().int().positive()).min(1),
  bottom: z.array(z.number().int().positive()),
  top: z.array(z.number().int().positive()),
  interaction: z.enum(["dot", "cat"]),
  optimizer: z.enum(["sgd", "adagrad", "rwsadagrad"]),
});

/** Where training stood when a checkpoint was written. */
export const trainingState = z.object({
  /** Epochs that are complete. */
  epoch: count,
  /** Steps and samples trained on since the beginning. */
  step: count,
  samples: count,
  scheduler: schedulerState,
  /** Best AUC of the selection split so far and evaluations since; null before the first evaluation. */
  bestAuc: z.number().nullable(),
  evaluationsSinceBest: count,
  /** True if the run reached its last epoch, its target or the end of its patience. */
  finished: z.boolean(),
});
/** Where training stood when a checkpoint was written. */
export type TrainingState = z.infer<typeof trainingState>;

/** Validates what a checkpoint's manifest says. */
export const checkpointBody = z.object({
  model: modelShape,
  seed: z.number().int(),
  /** The dataset whose ids the rows stand for. */
  dataset: z.string(),
  /** Names the data, batches and order of the run; a resumed run must continue the same. */
  run: z.string(),
  state: trainingState,
});
/** What a checkpoint's manifest says. */
export type CheckpointBody = z.infer<typeof checkpointBody>;

/** A vector of a run: its file in a checkpoint, the words it must have, and where it lies. */
interface Vector {
  readonly file: CheckpointFile;
  readonly backend: Backend;
  readonly buffer: Buffer;
}

type ModelMemory = Pick<RunMemory, "device" | "parameters" | "denseState"> & { readonly full: EmbeddingStore };

function vectorsOf({ device, full, parameters, denseState }: ModelMemory): Vector[] {
  const vectors: { file: CheckpointFile; backend: Backend; buffer: Buffer | undefined }[] = [
    { file: CHECKPOINT_FILES.dense, backend: device, buffer: parameters },
    { file: CHECKPOINT_FILES.denseState, backend: device, buffer: denseState },
    { file: CHECKPOINT_FILES.rows, backend: full.backend, buffer: full.weights },
    { file: CHECKPOINT_FILES.rowState, backend: full.backend, buffer: full.state },
  ];
  return vectors.filter((vector): vector is Vector => vector.buffer !== undefined);
}

/** Writes the full tables and dense parameters as they are into a checkpoint. Returns the bytes. */
export function writeVectors(writer: ArtifactWriter, memory: ModelMemory): number {
  const chunk = new Float32Array(CHUNK_WORDS);
  let words = 0;
  for (const { file, backend, buffer } of vectorsOf(memory)) {
    for (let first = 0; first < buffer.words; first += CHUNK_WORDS) {
      const part = chunk.subarray(0, Math.min(CHUNK_WORDS, buffer.words - first));
      backend.download(backend.view(buffer, first, part.length), part);
      writer.file(file).append(part);
    }
    words += buffer.words;
  }
  return 4 * words;
}

/** Writes a checkpoint of the full tables and dense parameters, which must be up to date, replacing what was there. */
export function saveCheckpoint(directory: string, memory: ModelMemory, body: CheckpointBody): void {
  using writer = new ArtifactWriter("checkpoint", directory);
  writeVectors(writer, memory);
  writer.commit(body);
}

/** A checkpoint on disk. */
export class Checkpoint {
  readonly body: CheckpointBody;
  readonly #artifact: Artifact<CheckpointBody>;

  private constructor(artifact: Artifact<CheckpointBody>) {
    this.#artifact = artifact;
    this.body = artifact.body;
  }

  /** Opens and validates a checkpoint. Throws HotsetError that names what is wrong. */
  static open(directory: string): Checkpoint {
    const artifact = Artifact.open("checkpoint", directory, checkpointBody);
    const { model } = artifact.body;
    const plan = planModel(model);
    const stateWords = stateWordsPerRow(model.optimizer, model.dim);
    artifact.expectBytes(CHECKPOINT_FILES.dense, 4 * plan.denseWords);
    artifact.expectBytes(CHECKPOINT_FILES.rows, 4 * plan.rows * model.dim);
    if (stateWords > 0) {
      artifact.expectBytes(CHECKPOINT_FILES.denseState, 4 * plan.denseWords);
      artifact.expectBytes(CHECKPOINT_FILES.rowState, 4 * plan.rows * stateWords);
    }
    return new Checkpoint(artifact);
  }

  /** Where it lies. */
  get directory(): string {
    return this.#artifact.directory;
  }

  /** Names its content: equal checkpoints have equal ids. */
  get id(): string {
    return this.#artifact.id;
  }

  /** A reader of one vector, which refuses weights that are no numbers. */
  reader(file: CheckpointFile): WeightReader {
    return new WeightReader(this.#artifact.open(file), this.#artifact.path(file), planModel(this.body.model), file);
  }

  /** Throws HotsetError unless it is one of this model. */
  expectModel(model: ModelShape): void {
    for (const key of Object.keys(model) as (keyof ModelShape)[]) {
      const [saved, wanted] = [this.body.model[key], model[key]].map((value) => JSON.stringify(value));
      if (saved !== wanted) {
        throw new HotsetError(
          `Cannot load checkpoint ${this.#artifact.directory}: its ${key} is ${shorten(saved)} and the run's is ` +
            `${shorten(wanted)}`,
        );
      }
    }
  }

  /**
   * Copies the checkpoint into memory of the same model. Throws HotsetError if the models differ or a weight is no
   * number.
   */
  load(memory: ModelMemory, model: ModelShape): void {
    this.expectModel(model);
    const chunk = new Float32Array(CHUNK_WORDS);
    for (const { file, backend, buffer } of vectorsOf(memory)) {
      using reader = this.reader(file);
      for (let first = 0; first < buffer.words; first += CHUNK_WORDS) {
        const part = chunk.subarray(0, Math.min(CHUNK_WORDS, buffer.words - first));
        reader.read(first, part);
        backend.upload(part, backend.view(buffer, first, part.length));
      }
    }
  }
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
