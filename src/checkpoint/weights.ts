/** Checks the words of a checkpoint when they are written and read: none may be NaN or infinite. */
import { OPTIMIZERS, rowStateWords } from "../optimizer/optimizers.ts";
import { HotsetError } from "../errors.ts";
import { elementsOf } from "../model/layers/layer.ts";
import type { ModelPlan } from "../model/shape.ts";

/** Files with the weights of a checkpoint: dense parameters as in the plan, and the rows of all tables. */
export type WeightFile = "dense.f32" | "rows.f32";
/** Files of a checkpoint: weights and their optimizer state. */
export type CheckpointFile = WeightFile | "dense_state.f32" | "row_state.f32";

/** A model contains or predicts a non-finite number. The message is a clause that names the place. */
export class NotFinite extends HotsetError {
  /** Name of the class. */
  override name = "NotFinite";

  /** Thrown where the place is known. */
  constructor(message: string) {
    super(message, { code: "diverged" });
  }
}

/** What is needed to name the words of a checkpoint. */
export interface WordNames {
  readonly plan: ModelPlan;
  /** Names of the tables. */
  readonly tables: readonly string[];
}

/** Exponent bits, which are all set only in NaN and infinity. */
const EXPONENT = 0x7f800000;

/** Index of the first value that is not finite, or -1. */
export function notFinite(values: Float32Array | Uint32Array): number {
  const words = new Int32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < words.length; i++) if ((words[i] & EXPONENT) === EXPONENT) return i;
  return -1;
}

/** Throws NotFinite unless words `[first, first + words.length)` of a checkpoint's file are finite numbers. */
export function expectFinite(
  { plan, tables }: WordNames,
  file: CheckpointFile,
  first: number,
  words: Float32Array | Uint32Array,
): void {
  const wrong = notFinite(words);
  if (wrong < 0) return;
  const value = new Float32Array(words.buffer, words.byteOffset, words.length)[wrong];
  throw new NotFinite(`${placeOfWord(plan, file, first + wrong, tables)} holds ${value}`);
}

/** Index of the first negative value, or -1. */
function negative(values: Float32Array): number {
  for (let i = 0; i < values.length; i++) if (values[i] < 0) return i;
  return -1;
}

/** Names a word of a checkpoint's file, as in "row 17 of table 3": tables by name, or counted from 0; layers from 1. */
export function placeOfWord(
  plan: ModelPlan,
  file: CheckpointFile,
  word: number,
  tables: readonly (string | number)[] = [...plan.shape.tableRows.keys()],
): string {
  const { tableRows, dim, optimizer } = plan.shape;
  if (file === "dense_state.f32") {
    return `the optimizer state of ${placeOfWord(plan, "dense.f32", word % plan.denseWords, tables)}`;
  }
  if (file === "row_state.f32") {
    const row = Math.floor(word / rowStateWords(optimizer, dim));
    return `the optimizer state of ${placeOfWord(plan, "rows.f32", row * dim, tables)}`;
  }
  if (file === "rows.f32") {
    let row = Math.floor(word / dim);
    const table = tableRows.findIndex((rows) => row < rows || (row -= rows, false));
    return `row ${row} of table ${tables[table]}`;
  }
  for (const { layer, parameters } of plan.layers) {
    const found = parameters.find(({ first, shape }) => word >= first && word < first + elementsOf(shape));
    if (found !== undefined) return `a ${found.name} of ${layer.title}`;
  }
  return "padding between layers";
}

/** Reads bytes of a file, or of several parts that act as one. */
export interface ByteReader extends Disposable {
  /** Fills `target` from byte `position` on. Throws HotsetError. */
  read(position: number, target: Uint8Array): void;
}

/** Reads words of one vector of a checkpoint. */
export class WeightReader implements Disposable {
  readonly #reader: ByteReader;
  readonly #path: string;
  readonly #plan: ModelPlan;
  readonly #file: CheckpointFile;

  /** `path` is the file's name in errors. */
  constructor(reader: ByteReader, path: string, plan: ModelPlan, file: CheckpointFile) {
    this.#reader = reader;
    this.#path = path;
    this.#plan = plan;
    this.#file = file;
  }

  /**
   * Fills `target` from word `first` on. Throws HotsetError that names the table and row of a non-finite value, or of
   * negative optimizer state.
   */
  read(first: number, target: Float32Array): void {
    this.#reader.read(4 * first, new Uint8Array(target.buffer, target.byteOffset, target.byteLength));
    let wrong = notFinite(target);
    // Sums of squares, whose roots optimizers take.
    if (
      wrong < 0 && !OPTIMIZERS[this.#plan.shape.optimizer].signedState &&
      (this.#file === "row_state.f32" || this.#file === "dense_state.f32")
    ) wrong = negative(target);
    if (wrong < 0) return;
    const place = placeOfWord(this.#plan, this.#file, first + wrong);
    throw new HotsetError(
      `Cannot use ${this.#path}: ${place} holds ${
        target[wrong]
      }; use an earlier checkpoint, and train from there with a ` +
        `lower learning rate`,
    );
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#reader[Symbol.dispose]();
  }
}
