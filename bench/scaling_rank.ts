/**
 * Run by mpirun for scaling_model.ts: one rank that trains on the first batches of a layout. Arguments: those of
 * bench_rank.ts and the steps of each kind. Rank 0 prints, by kind of batch, the mean seconds of a step and of reading a
 * batch, and the bytes that all ranks sent in a mean step.
 */
import { Batch } from "../src/layout/batch.ts";
import { BATCH_KINDS } from "../src/layout/layout.ts";
import { BenchRank } from "./bench_rank.ts";

await using rank = await BenchRank.open();
const { cluster, group, layout } = rank;
const steps = Number(Deno.args[3]);

/** Mean seconds of calls with the numbers of batches; the last call of `end` counts. */
function meanSeconds(count: number, call: (index: number) => void, end = () => {}): number {
  const begin = performance.now();
  for (let index = 0; index < count; index++) call(index);
  end();
  return (performance.now() - begin) / 1000 / count;
}

const spare = new Batch(layout.shape);
const measured = BATCH_KINDS.filter((kind) => layout.batches(kind) > 0).map((kind) => {
  const count = Math.min(steps, layout.batches(kind));
  const train = (index: number) => rank.train(kind, index);
  for (let index = 0; index < Math.min(count, 2); index++) train(index); // what is compiled and mapped at first use
  group.drain();
  const before = cluster.bytesSent();
  const seconds = meanSeconds(count, train, () => group.drain());
  const bytes = (cluster.bytesSent() - before) / count;
  cluster.barrier();
  const reading = meanSeconds(count, (index) => layout.readBatch(kind, index, spare));
  return [kind, { seconds, reading, bytes }];
});
if (cluster.first) console.log(JSON.stringify(Object.fromEntries(measured)));
