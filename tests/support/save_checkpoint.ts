import { ArtifactWriter } from "../../src/storage/artifact_writer.ts";
import { type CheckpointBody, type ModelMemory, writeModel } from "../../src/checkpoint/checkpoint.ts";
import { planModel } from "../../src/model/shape.ts";

/** Writes a checkpoint of the full tables and dense parameters, replacing what was there. */
export function saveCheckpoint(
  directory: string,
  memory: ModelMemory,
  body: CheckpointBody,
  tables: readonly string[] = body.model.tableRows.map((_, table) => String(table)),
): void {
  using writer = new ArtifactWriter("checkpoint", directory);
  writeModel(writer, memory, { plan: planModel(body.model), tables });
  writer.commit(body);
}
