/** Writes checkpoints during training: the worker's side. */
/// <reference lib="deno.worker" />
import type { ArtifactWriter } from "../storage/artifact_writer.ts";
import { Mailbox } from "../threads/mailbox.ts";
import { appendFinite, CHECKPOINT_FILES } from "./checkpoint.ts";
import { storeCheckpoint } from "./checkpoint_store.ts";
import { Mail, type WriterMemory, type WriterOrder } from "./checkpoint_writer.ts";
import { SnapshotTaker } from "./table_snapshot.ts";
import type { CheckpointFile, WordNames } from "./weights.ts";

self.onmessage = ({ data: memory }: MessageEvent<WriterMemory>) => {
  const taker = new SnapshotTaker(memory.snapshot);
  self.onmessage = ({ data: order }: MessageEvent<WriterOrder>) => carryOut(order, memory, taker);
  postMessage({});
};

/** Reports errors through the mailbox: the coordinator may be blocked in a wait, where it receives no `error` event. */
function carryOut(order: WriterOrder, memory: WriterMemory, taker: SnapshotTaker): void {
  const begin = performance.now();
  const mail = new Mailbox(memory.mailbox);
  let bytes = 0;
  try {
    const { places, body } = order;
    storeCheckpoint(places, body, (writer, names) => {
      bytes = writeSnapshot(writer, names, memory, taker, mail);
    });
    memory.figures.set([bytes, (performance.now() - begin) / 1000]);
    mail.put(Mail.done, mail.get(Mail.done) + 1);
  } catch (thrown) {
    mail.fail(thrown);
  }
}

function writeSnapshot(
  writer: ArtifactWriter,
  names: WordNames,
  memory: WriterMemory,
  taker: SnapshotTaker,
  mail: Mailbox,
): number {
  const { dense, denseState, takingShare } = memory;
  const files = CHECKPOINT_FILES;
  let bytes = 0;
  const append = (name: CheckpointFile, words: Float32Array | Uint32Array) => {
    appendFinite(writer, names, name, words);
    bytes += words.byteLength;
  };
  append(files.dense, dense);
  if (denseState !== undefined) append(files.denseState, denseState);
  for (let chunk = 0; chunk < taker.chunks; chunk++) {
    const begin = performance.now();
    const { weights, state } = taker.take(chunk);
    const taken = performance.now();
    append(files.rows, weights);
    if (memory.snapshot.stateWords > 0) append(files.rowState, state);
    // Sleep to keep to the share of processor time, but not while the coordinator waits.
    const rest = begin + (taken - begin) / takingShare - performance.now();
    mail.sleep(Mail.coordinatorWaiting, 0, rest);
  }
  return bytes;
}
