/**
 * Run by mpirun: a step over every batch of a layout. Arguments: directory of the layout, dim, rows of the tables as
 * JSON. Rank 0 prints for each batch its kind, the bytes that all ranks sent, and the bytes by the formula.
 */
import { atOnce } from "../../src/breaks.ts";
import { writeStep } from "../../src/optimizer/optimizers.ts";
import { openWorld } from "../../src/parallel/mpi_world.ts";
import { BATCH_KINDS, Layout } from "../../src/layout/layout.ts";
import { planModel } from "../../src/model/shape.ts";
import { wireBytes } from "../../bench/step_bytes.ts";
import { MpiRanks } from "../../src/ranks/mpi_ranks.ts";

using layout = Layout.open(Deno.args[0]);
const dim = Number(Deno.args[1]);
const { denseFeatures } = layout.shape;
const plan = planModel({
  dim,
  tableRows: JSON.parse(Deno.args[2]),
  bottom: [denseFeatures, 7, dim],
  top: [5, 1],
  interaction: "dot",
  optimizer: "sgd",
});
using world = openWorld();
await using group = await MpiRanks.open(world, {
  ...{ plan, batchShape: layout.shape, hotRows: layout.hotRows },
  ...{ blas: "auto", precision: "fp32", devices: undefined, tablesOnDevice: false },
}, () => {});
for (const kind of BATCH_KINDS) {
  for (let index = 0; index < layout.batches(kind); index++) {
    const slot = group.acquire();
    const batch = group.batches[slot];
    layout.readBatch(kind, index, batch);
    writeStep("sgd", batch.floats, 0.1);
    atOnce(group.tables.refresh()); // sends hot rows that a cold step changed to all hosts, which is not part of a step
    group.drain();
    const before = world.bytesSent();
    group.train(slot);
    group.drain();
    const sent = world.bytesSent();
    const { dense, rows, gradients } = wireBytes(batch, plan, world.peers.size, world.node.size);
    if (world.rank === 0) {
      console.log(JSON.stringify({ kind, counted: sent - before, formula: dense + rows + gradients }));
    }
  }
}
