/**
 * Run by mpirun for scaling_model.ts: one rank that trains on the first batches of a layout. Arguments: those of
 * bench_rank.ts and the steps of each kind. Rank 0 prints, by kind of batch, the seconds of a median step and of
 * reading its batch, and the bytes that all ranks sent in a mean step. Nothing is prefetched.
 */
import { Batch } from "../src/layout/batch.ts";
import { BATCH_KINDS } from "../src/layout/layout.ts";
import { BenchRank } from "./bench_rank.ts";
import { median } from "./median.ts";

await using rank = await BenchRank.open();
const { world, group, layout } = rank;
const steps = Number(Deno.args[3]);

/** Median seconds of calls with the numbers of batches. */
function medianSeconds(count: number, call: (index: number) => void): number {
  return median(Array.from({ length: count }, (_, index) => {
    const begin = performance.now();
    call(index);
    return (performance.now() - begin) / 1000;
  }));
}

const spare = new Batch(layout.shape);
const measured = BATCH_KINDS.filter((kind) => layout.batches(kind) > 0).map((kind) => {
  const count = Math.min(steps, layout.batches(kind));
  const train = (index: number) => {
    rank.train(kind, index);
    group.drain();
  };
  for (let index = 0; index < Math.min(count, 2); index++) train(index); // compilation and page faults at first use
  const before = world.bytesSent();
  const seconds = medianSeconds(count, train);
  const bytes = (world.bytesSent() - before) / count;
  world.barrier();
  const reading = medianSeconds(count, (index) => layout.readBatch(kind, index, spare));
  return [kind, { seconds, reading, bytes }];
});
if (world.rank === 0) console.log(JSON.stringify(Object.fromEntries(measured)));
