/**
 * Run by mpirun for slow_network.ts: one rank that trains on each kind of batch with and without prefetching the rows
 * of the next batch, alternately. Arguments: those of bench_rank.ts, the steps and the rounds, and the network
 * interface. Rank 0 prints its measurements as JSON.
 */
import { BATCH_KINDS, type BatchKind } from "../src/layout/layout.ts";
import { Command } from "../src/ranks/rank.ts";
import { BenchRank } from "./bench_rank.ts";
import { median } from "./median.ts";

/** Steps with one setting on one kind of batch. */
export interface Steps {
  readonly kind: BatchKind;
  readonly overlap: boolean;
  /** Seconds of the median step. */
  readonly seconds: number;
  /** Bytes that all ranks sent in a mean step, by their own count. */
  readonly countedBytes: number;
  /** Bytes that the interface sent and received. */
  readonly wireBytes: number;
}

/** Result of a launch. */
export interface Measured {
  /** Seconds of a barrier: a message in each direction at the same time. */
  readonly barrier: number;
  readonly steps: Steps[];
}

await using rank = await BenchRank.open();
const { world, group, layout } = rank;
const [steps, rounds] = Deno.args.slice(3, 5).map(Number);
const BARRIERS = 20;

/** Bytes through the interface of this rank's host, in both directions. */
function wireBytes(): number {
  const count = (way: string) =>
    Number(Deno.readTextFileSync(`/sys/class/net/${Deno.args[5]}/statistics/${way}_bytes`));
  return count("tx") + count("rx");
}

/** Trains on batches of one kind and adds the seconds of all steps except the last. */
function train(kind: BatchKind, overlap: boolean, seconds: number[]): void {
  rank.train(kind, 0); // a step waits for the next batch
  for (let index = 1, since = performance.now(); index < steps; index++) {
    if (!overlap) group.post(Command.synchronize, 0, 0);
    rank.train(kind, index);
    const now = performance.now();
    seconds.push((now - since) / 1000);
    since = now;
  }
  group.drain();
}

const measured: Steps[] = [];
for (const kind of BATCH_KINDS.filter((kind) => layout.batches(kind) > 0)) {
  const ways = [false, true].map((overlap) => ({
    ...{ overlap, seconds: new Array<number>(), countedBytes: 0, wireBytes: 0 },
  }));
  train(kind, true, []); // compilation and page faults at first use, and TCP's slow start
  for (let round = 0; round < rounds; round++) {
    for (const way of ways) {
      const [counted, wire] = [world.bytesSent(), wireBytes()];
      train(kind, way.overlap, way.seconds);
      way.wireBytes += (wireBytes() - wire) / steps / rounds;
      way.countedBytes += (world.bytesSent() - counted) / steps / rounds;
    }
  }
  measured.push(...ways.map((way) => ({ ...way, kind, seconds: median(way.seconds) })));
}
const begin = performance.now();
for (let i = 0; i < BARRIERS; i++) world.barrier();
const barrier = (performance.now() - begin) / 1000 / BARRIERS;
if (world.rank === 0) console.log(JSON.stringify({ barrier, steps: measured } satisfies Measured));
