/**
 * Checkpoints of sharded tables, with the same files as those of one host. Hosts write chunks of consecutive rows in
 * turn, and receive the rows of other hosts for them. The directory of the run must be shared by all hosts.
 */
import type { ArtifactWriter } from "../storage/artifact_writer.ts";
import { writeAll } from "../storage/output_file.ts";
import type { Buffer } from "../backend/backend.ts";
import { matricesOf } from "../embedding/tables.ts";
import { consecutive, type ProcessGroup, type ProcessGroups } from "../parallel/process_group.ts";
import { HotsetError, messageOf } from "../errors.ts";
import type { ModelPlan } from "../model/shape.ts";
import { type ModelMemory, ROW_FILES, writeDense } from "./checkpoint.ts";
import { type CheckpointFile, expectFinite, NotFinite, type WordNames } from "./weights.ts";

/** The buffers of the model; `full` is this host's shard of the tables. */
interface ShardMemory extends ModelMemory {
  readonly plan: ModelPlan;
}

/** Bytes of a chunk of rows that one host writes at a time. */
const CHUNK_BYTES = 8 << 20;

/**
 * Writes the files of a checkpoint of tables sharded by row % hosts. Collective; rank 0 passes the writer. Returns the
 * names of the files that the hosts wrote together. Throws NotFinite on the host that finds such a value.
 */
export function writeSharded(
  { world, node, peers }: ProcessGroups,
  memory: ShardMemory,
  names: WordNames,
  writer: ArtifactWriter | undefined,
): string[] {
  if (writer !== undefined) writeDense(writer, memory, names);
  const written: string[] = [];
  for (const { name, buffer, width } of matricesOf(memory.plan.shape, memory.full)) {
    const file = ROW_FILES[name];
    const path = world.broadcast(writer?.path(file) ?? "");
    if (writer !== undefined) Deno.writeFileSync(path, new Uint8Array(0), { createNew: true });
    written.push(file);
    world.barrier(); // the file exists
    if (node.rank === 0) writeRows(peers, path, memory, { names, file, buffer, width });
    world.barrier(); // all rows are written
  }
  return written;
}

/** Writes this host's chunks of rows; the first rank of every host calls it. */
function writeRows(
  peers: ProcessGroup,
  path: string,
  memory: ShardMemory,
  { names, file: name, buffer, width }: { names: WordNames; file: CheckpointFile; buffer: Buffer; width: number },
): void {
  const { rank: host, size: hosts } = peers;
  const { rows } = memory.plan;
  // A chunk begins at a multiple of `hosts`, so that it has the same number of rows of each host, except the last chunk.
  const chunkRows = hosts * Math.max(1, Math.floor(CHUNK_BYTES / 4 / width / hosts));
  const received = new Float32Array(chunkRows * width);
  const chunk = new Float32Array(chunkRows * width);
  const own = memory.host.floats(buffer);
  const rowsIn = (first: number, owner: number) =>
    Math.max(0, Math.ceil((Math.min(chunkRows, rows - first) - owner) / hosts));
  try {
    using file = Deno.openSync(path, { write: true });
    for (let first = 0; first < rows; first += hosts * chunkRows) {
      const sent = consecutive(Array.from({ length: hosts }, (_, h) => width * rowsIn(first + h * chunkRows, host)));
      const mine = first + host * chunkRows;
      const counts = Int32Array.from({ length: hosts }, (_, h) => rowsIn(mine, h));
      const parts = consecutive(counts.map((rows) => rows * width));
      peers.allToAll(own.subarray(Math.floor(first / hosts) * width), sent, received, parts).wait();
      let from = 0;
      for (let owner = 0; owner < hosts; owner++) {
        for (let i = 0; i < counts[owner]; i++, from += width) {
          chunk.set(received.subarray(from, from + width), (i * hosts + owner) * width);
        }
      }
      const words = chunk.subarray(0, width * counts.reduce((sum, count) => sum + count, 0));
      expectFinite(names, name, mine * width, words);
      const bytes = new Uint8Array(words.buffer, 0, words.byteLength);
      if (bytes.length > 0) file.seekSync(4 * mine * width, Deno.SeekMode.Start);
      writeAll(file, bytes);
    }
    file.syncDataSync(); // like ArtifactWriter for the files that it writes itself
  } catch (error) {
    if (error instanceof NotFinite) throw error;
    throw new HotsetError(`Cannot write ${path}: ${messageOf(error)}`, { cause: error });
  }
}
