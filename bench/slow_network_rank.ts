/**
 * Run by mpirun for slow_network.ts: one rank that trains on each kind of batch with and without fetching the rows of the
 * next batch while this one is computed, in turn. Arguments: those of bench_rank.ts, the steps and the rounds, and the
 * network interface. Rank 0 prints what it measured as JSON.
 */
import { BATCH_KINDS, type BatchKind } from "../src/layout/layout.ts";
import { Command } from "../src/train/rank.ts";
import { BenchRank } from "./bench_rank.ts";

/** Mean steps of one way to train on one kind of batch. */
export interface Steps {
  readonly kind: BatchKind;
  readonly overlap: boolean;
  readonly seconds: number;
  /** What all ranks sent, by their own count. */
  readonly countedBytes: number;
  /** What the interface sent and received. */
  readonly wireBytes: number;
}

/** What one launch measures. */
export interface Measured {
  /** Seconds of a barrier: a message there and one back, at the same time. */
  readonly barrier: number;
  readonly steps: Steps[];
}

await using rank = await BenchRank.open();
const { cluster, group, layout } = rank;
const [steps, rounds] = Deno.args.slice(3, 5).map(Number);
const BARRIERS = 20;

/** Bytes that have passed the interface of this rank's host, either way. */
function wireBytes(): number {
  const count = (way: string) =>
    Number(Deno.readTextFileSync(`/sys/class/net/${Deno.args[5]}/statistics/${way}_bytes`));
  return count("tx") + count("rx");
}

/** Trains on so many batches; without overlap each step is done before the next batch is known. */
function train(kind: BatchKind, overlap: boolean, count: number): void {
  for (let index = 0; index < count; index++) {
    rank.train(kind, index);
    if (!overlap) group.post(Command.synchronize, 0, 0);
  }
  group.drain();
}

const measured: Steps[] = [];
for (const kind of BATCH_KINDS.filter((kind) => layout.batches(kind) > 0)) {
  const ways = [false, true].map((overlap) => ({ kind, overlap, seconds: 0, countedBytes: 0, wireBytes: 0 }));
  train(kind, true, 2); // what is compiled and mapped at first use
  for (let round = 0; round < rounds; round++) {
    for (const way of ways) {
      const [counted, wire] = [cluster.bytesSent(), wireBytes()];
      const begin = performance.now();
      train(kind, way.overlap, steps);
      way.seconds += (performance.now() - begin) / 1000 / steps / rounds;
      way.wireBytes += (wireBytes() - wire) / steps / rounds;
      way.countedBytes += (cluster.bytesSent() - counted) / steps / rounds;
    }
  }
  measured.push(...ways);
}
const begin = performance.now();
for (let i = 0; i < BARRIERS; i++) cluster.barrier();
const barrier = (performance.now() - begin) / 1000 / BARRIERS;
if (cluster.first) console.log(JSON.stringify({ barrier, steps: measured } satisfies Measured));
