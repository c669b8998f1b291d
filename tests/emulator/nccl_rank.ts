/** One rank of a test of the emulated NCCL: a thread with its own device. */
/// <reference lib="deno.worker" />
import { checkedNccl, Collectives, type Nccl, UNIQUE_ID_BYTES } from "../../ffi/nccl.ts";
import { pointerAt } from "../../ffi/pointer.ts";
import { TestDevice } from "./support.ts";

const { float32, sum } = Collectives;

/** What a rank is started with; the words before the id in `meeting` tell when it is there. */
export interface RankOrder {
  readonly meeting: SharedArrayBuffer;
  readonly rank: number;
  readonly ranks: number;
  readonly scenario: Scenario;
  readonly timeoutMs: number;
}

/** A value that differs for every rank and word and does not add up exactly. */
export function valueOf(rank: number, i: number): number {
  return Math.fround(Math.sin(1 + 7 * rank + i) / 3);
}

interface Joined {
  readonly device: TestDevice;
  readonly nccl: Nccl;
  readonly communicator: Deno.PointerValue;
  readonly rank: number;
  readonly ranks: number;
}

const own = (rank: number, words: number) => Float32Array.from({ length: words }, (_, i) => valueOf(rank, i));

const SCENARIOS = {
  /** Sums of odd lengths, longer than what is shown at a time, in place and not; one of them replayed as a graph. */
  allReduce({ device, nccl, communicator, rank }: Joined): Float32Array {
    const found = [1, 5, 70_001].flatMap((words) => {
      const from = device.upload(own(rank, words)), to = device.allocate(4 * words);
      nccl.ncclAllReduce(from, to, BigInt(words), float32, sum, communicator, device.stream);
      nccl.ncclAllReduce(from, from, BigInt(words), float32, sum, communicator, device.stream);
      return [...device.floats(to, words), ...device.floats(from, words)];
    });
    const memory = device.upload(own(rank, 3)), { runtime, stream } = device;
    runtime.cudaStreamBeginCapture(stream, 1);
    nccl.ncclAllReduce(memory, memory, 3n, float32, sum, communicator, stream);
    const graph = pointerAt(device.made((slot) => runtime.cudaStreamEndCapture(stream, slot)));
    const executable = pointerAt(device.made((slot) => runtime.cudaGraphInstantiateWithFlags(slot, graph, 0n)));
    for (let times = 0; times < 2; times++) runtime.cudaGraphLaunch(executable, stream);
    return Float32Array.from([...found, ...device.floats(memory, 3)]);
  },
  /** Parts of all ranks one after the other, apart and in place. */
  allGather({ device, nccl, communicator, rank, ranks }: Joined): Float32Array {
    const found = [1, 66_000].flatMap((words) => {
      const from = device.upload(own(rank, words)), to = device.allocate(4 * words * ranks);
      nccl.ncclAllGather(from, to, BigInt(words), float32, communicator, device.stream);
      const place = new Float32Array(words * ranks);
      place.set(own(rank, words), rank * words);
      const all = device.upload(place);
      nccl.ncclAllGather(all + BigInt(4 * words * rank), all, BigInt(words), float32, communicator, device.stream);
      return [...device.floats(to, words * ranks), ...device.floats(all, words * ranks)];
    });
    return Float32Array.from(found);
  },
  /** Each rank sums another number of words. */
  otherLength({ device, nccl, communicator, rank }: Joined): Float32Array {
    const memory = device.upload(own(rank, 8));
    nccl.ncclAllReduce(memory, memory, BigInt(4 + rank), float32, sum, communicator, device.stream);
    return Float32Array.from(device.floats(memory, 8));
  },
  /** The last rank gathers where the others sum. */
  otherOperation({ device, nccl, communicator, rank, ranks }: Joined): Float32Array {
    const memory = device.upload(own(rank, 4)), all = device.allocate(16 * ranks);
    if (rank === ranks - 1) nccl.ncclAllGather(memory, all, 4n, float32, communicator, device.stream);
    else nccl.ncclAllReduce(memory, memory, 4n, float32, sum, communicator, device.stream);
    return Float32Array.from(device.floats(memory, 4));
  },
  /** The last rank does nothing. */
  absent({ device, nccl, communicator, rank, ranks }: Joined): Float32Array {
    const memory = device.upload(own(rank, 4));
    if (rank < ranks - 1) nccl.ncclAllReduce(memory, memory, 4n, float32, sum, communicator, device.stream);
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_000); // longer than the others wait
    return Float32Array.from(device.floats(memory, 4));
  },
  /** The last rank gives up. */
  aborts({ device, nccl, communicator, rank, ranks }: Joined): Float32Array {
    const memory = device.upload(own(rank, 4));
    if (rank < ranks - 1) nccl.ncclAllReduce(memory, memory, 4n, float32, sum, communicator, device.stream);
    else nccl.ncclCommAbort(communicator);
    return Float32Array.from(device.floats(memory, 4));
  },
  /** The last rank breaks its device and ends. */
  faults({ device, nccl, communicator, rank, ranks }: Joined): Float32Array {
    const memory = device.upload(own(rank, 4));
    const words = rank < ranks - 1 ? 4n : 5n;
    nccl.ncclAllReduce(memory, memory, words, float32, sum, communicator, device.stream);
    return Float32Array.from(device.floats(memory, 4));
  },
};
/** Names of what ranks can be told to do. */
export type Scenario = keyof typeof SCENARIOS | "sameRank" | "otherRanks";

function run({ meeting, rank, ranks, scenario, timeoutMs }: RankOrder): { values: Float32Array; bytes: number } {
  using device = new TestDevice({ timeoutMs });
  const nccl = checkedNccl(device.device.nccl);
  const ready = new Int32Array(meeting), id = new Uint8Array(meeting, 8, UNIQUE_ID_BYTES);
  if (rank === 0) {
    const made = new Uint8Array(UNIQUE_ID_BYTES);
    nccl.ncclGetUniqueId(made);
    id.set(made);
    Atomics.store(ready, 0, 1);
    Atomics.notify(ready, 0);
  }
  Atomics.wait(ready, 0, 0);
  const claimed = scenario === "sameRank" ? 0 : rank, of = scenario === "otherRanks" && rank > 0 ? ranks + 1 : ranks;
  const communicator = pointerAt(device.made((slot) => nccl.ncclCommInitRank(slot, of, id.slice(), claimed)));
  if (scenario === "sameRank" || scenario === "otherRanks") return { values: new Float32Array(0), bytes: 0 };
  const values = SCENARIOS[scenario]({ device, nccl, communicator, rank, ranks });
  return { values, bytes: device.device.counters.bytesFromRanks };
}

self.onmessage = ({ data }: MessageEvent<RankOrder>) => {
  try {
    postMessage(run(data));
  } catch (error) {
    postMessage({ error: String(error) });
  }
  self.close();
};
