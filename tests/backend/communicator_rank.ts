/** One rank of a test of communicators: a thread with a CUDA backend of its own. */
/// <reference lib="deno.worker" />
import { openCuda } from "../../src/backend/cuda/open.ts";
import { testDevice } from "../support/cuda_device.ts";

/** What a rank is started with; the id follows a word that tells when it is there. */
export interface RankOrder {
  readonly meeting: SharedArrayBuffer;
  readonly rank: number;
  readonly ranks: number;
}

function run({ meeting, rank, ranks }: RankOrder) {
  using backend = openCuda({ device: testDevice, ordinal: rank });
  const ready = new Int32Array(meeting), id = new Uint8Array(meeting, 8, 128);
  if (rank === 0) {
    id.set(backend.communicatorId());
    Atomics.store(ready, 0, 1);
    Atomics.notify(ready, 0);
  }
  Atomics.wait(ready, 0, 0);
  const communicator = backend.connect(id, rank, ranks);
  const vector = backend.allocate(7, "vector"), parts = backend.allocate(ranks * 3, "parts");
  const part = backend.view(parts, 3 * rank, 3);
  const words = new Float32Array(7), all = new Float32Array(3 * ranks);
  backend.upload(words.fill(rank + 1), vector);
  backend.upload(Float32Array.of(rank, 10 * rank, 100 * rank), part);
  communicator.allReduce(7, vector);
  communicator.allGather(part, parts);
  backend.download(vector, words);
  backend.download(parts, all);
  const step = backend.repeatable(() => {
    communicator.allReduce(5, vector);
    communicator.allGather(part, parts);
  });
  for (let times = 0; times < 3; times++) step();
  const repeated = new Float32Array(7);
  backend.download(vector, repeated);
  let refused = "";
  try {
    communicator.allReduce(8, vector);
  } catch (error) {
    refused = String(error);
  }
  return {
    ...{ words, all, repeated, refused, counters: { ...backend.counters } },
    emulatedBytes: backend.device.libraries.emulated?.counters.bytesFromRanks ?? 0,
  };
}
/** What a rank answers. */
export type RankAnswer = ReturnType<typeof run>;

self.onmessage = ({ data }: MessageEvent<RankOrder>) => {
  postMessage(run(data));
  self.close();
};
