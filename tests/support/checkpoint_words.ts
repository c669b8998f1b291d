/** The content of a checkpoint, whether its rows are in one file or in segments of a log. */
import { Checkpoint, type CheckpointBody, vectorsOf } from "../../src/checkpoint/checkpoint.ts";
import { planModel } from "../../src/model/shape.ts";
import { crc32Of } from "../../src/storage/crc32.ts";

/** The training state and a checksum of each vector. */
export function contentOf(
  directory: string,
): { body: Omit<CheckpointBody, "rowLog">; vectors: Record<string, number> } {
  const checkpoint = Checkpoint.open(directory);
  const { rowLog: _, ...body } = checkpoint.body;
  const vectors: Record<string, number> = {};
  for (const { file, words } of vectorsOf(planModel(body.model))) {
    using reader = checkpoint.reader(file);
    const values = new Float32Array(words);
    reader.read(0, values);
    vectors[file] = crc32Of(new Uint8Array(values.buffer));
  }
  return { body, vectors };
}

/** The same of a run's checkpoints. */
export function checkpointsOf(run: string): Record<string, ReturnType<typeof contentOf>> {
  return { best: contentOf(`${run}/best`), last: contentOf(`${run}/last`) };
}
