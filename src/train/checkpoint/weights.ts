/** The vectors of a checkpoint as files, read with a look at every word: a weight that is no number is found here. */
import { rowStateWords } from "../../optimizer/optimizers.ts";
import type { FileReader } from "../../artifact.ts";
import { HotsetError } from "../../errors.ts";
import type { ModelPlan } from "../../model/shape.ts";

/** Files with the weights of a checkpoint: dense parameters as in the plan, and the rows of all tables. */
export type WeightFile = "dense.f32" | "rows.f32";
/** Files of a checkpoint: weights and their optimizer state. */
export type CheckpointFile = WeightFile | "dense_state.f32" | "row_state.f32";

/** Index of the first value that is not finite, or -1. */
export function notFinite(values: Float32Array): number {
  // A product with 0 is 0 for every number and NaN for what is none, so one sum tells of all.
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += 0 * values[i];
  return sum === 0 ? -1 : values.findIndex((value) => !Number.isFinite(value));
}

/** Index of the first value below 0, or -1. */
function negative(values: Float32Array): number {
  for (let i = 0; i < values.length; i++) if (values[i] < 0) return i;
  return -1;
}

/** Says what a word of a checkpoint's file is: "row 17 of table 3", tables counted from 0. */
export function placeOfWord(plan: ModelPlan, file: CheckpointFile, word: number): string {
  if (file === "rows.f32" || file === "row_state.f32") {
    const { tableRows, dim, optimizer } = plan.shape;
    let row = Math.floor(word / (file === "row_state.f32" ? rowStateWords(optimizer, dim) : dim));
    const table = tableRows.findIndex((rows) => row < rows || (row -= rows, false));
    return `row ${row} of table ${table}`;
  }
  for (const [mlp, layers] of [["bottom", plan.bottom], ["top", plan.top]] as const) {
    for (const [i, { shape: { inputs, outputs }, weight, bias }] of layers.entries()) {
      if (word >= weight && word < weight + inputs * outputs) return `weight of layer ${i} of the ${mlp} MLP`;
      if (word >= bias && word < bias + outputs) return `bias of layer ${i} of the ${mlp} MLP`;
    }
  }
  return "padding between layers";
}

/** Reads words of one vector of a checkpoint. */
export class WeightReader implements Disposable {
  readonly #reader: FileReader;
  readonly #path: string;
  readonly #plan: ModelPlan;
  readonly #file: CheckpointFile;

  /** `path` is what errors call the file. */
  constructor(reader: FileReader, path: string, plan: ModelPlan, file: CheckpointFile) {
    this.#reader = reader;
    this.#path = path;
    this.#plan = plan;
    this.#file = file;
  }

  /**
   * Fills `target` from word `first` on. Throws HotsetError that names the table and row of a value that is no number, or of
   * optimizer state below 0.
   */
  read(first: number, target: Float32Array): void {
    this.#reader.read(4 * first, new Uint8Array(target.buffer, target.byteOffset, target.byteLength));
    let wrong = notFinite(target);
    // Sums of squares: the optimizers take their roots.
    if (wrong < 0 && (this.#file === "row_state.f32" || this.#file === "dense_state.f32")) wrong = negative(target);
    if (wrong < 0) return;
    throw new HotsetError(
      `Cannot use ${this.#path}: ${placeOfWord(this.#plan, this.#file, first + wrong)} holds ${
        target[wrong]
      }; use an ` +
        `earlier checkpoint, and train from there with a lower learning rate`,
    );
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#reader[Symbol.dispose]();
  }
}
