/** Weights of samples: how much each counts in the loss and in metrics. */
import { type Engine, numbers } from "./duckdb.ts";
import { WordFile } from "./word_file.ts";

/** Staged column of the weights. */
export const WEIGHT_COLUMN = "weight";

/** Writes the weight of each row of a staged log, f32 (rows). */
export async function writeWeights(engine: Engine, log: string, path: string): Promise<void> {
  using file = new WordFile(path);
  for await (const chunk of engine.stream(`SELECT ${WEIGHT_COLUMN} FROM ${log}`)) {
    const weights = numbers<Float32Array>(chunk.getColumnVector(0)).subarray(0, chunk.rowCount);
    file.room(chunk.rowCount).set(new Uint32Array(weights.buffer, weights.byteOffset, weights.length));
  }
  file.finish();
}
