/**
 * Run by mpirun for scaling_model.ts: one rank that trains on the first batches of a layout. Arguments: the layout's
 * directory, the rows of the tables as JSON, a preset and the steps of each kind. Rank 0 prints, by kind of batch, the
 * mean seconds of a step and of reading a batch, and the bytes that all ranks sent in a mean step.
 */
import { planModel, type Preset, PRESETS } from "../mod.ts";
import { Cluster } from "../src/collective/cluster.ts";
import { Batch } from "../src/layout/batch.ts";
import { BATCH_KINDS, Layout } from "../src/layout/layout.ts";
import { MpiRanks } from "../src/train/ranks/mpi_ranks.ts";

const [directory, tableRows, preset, steps] = Deno.args;
using layout = Layout.open(directory);
const { dim, bottom, top } = PRESETS[preset as Preset];
const plan = planModel({
  ...{ dim, tableRows: JSON.parse(tableRows), bottom: [layout.shape.denseFeatures, ...bottom], top },
  ...{ interaction: "dot", optimizer: "sgd" },
});
using cluster = Cluster.open();
await using group = await MpiRanks.open(cluster, {
  ...{ plan, batchShape: layout.shape, hotRows: layout.hotRows.length },
  ...{ devices: undefined, tablesOnDevices: false },
}, () => {});

/** Mean seconds of calls with the numbers of batches; the last call of `end` counts. */
function meanSeconds(count: number, call: (index: number) => void, end = () => {}): number {
  const begin = performance.now();
  for (let index = 0; index < count; index++) call(index);
  end();
  return (performance.now() - begin) / 1000 / count;
}

const spare = new Batch(layout.shape);
const measured = BATCH_KINDS.map((kind) => {
  const count = Math.min(Number(steps), layout.batches(kind));
  const train = (index: number) => {
    const slot = group.acquire();
    layout.readBatch(kind, index, group.batches[slot]);
    group.batches[slot].learningRate = 0.01;
    group.train(slot);
  };
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
