/**
 * Run by mpirun: two hosts with a shard of the tables each save a checkpoint. Then a row becomes NaN; its host prints
 * what is not finite, and the next checkpoint is refused. Arguments: directory of the run, row.
 */
import { openWorld } from "../../src/parallel/mpi_world.ts";
import { messageOf } from "../../src/errors.ts";
import { findBadTensor } from "../../src/loop/divergence.ts";
import { planModel } from "../../src/model/shape.ts";
import { CheckpointWriter } from "../../src/checkpoint/checkpoint_writer.ts";
import { MpiRanks } from "../../src/ranks/mpi_ranks.ts";
import { ShuffleScheduler } from "../../src/schedule/shuffle_scheduler.ts";

const [run, row] = Deno.args;
const tables = ["C1", "C2"];
const shape = {
  dim: 4,
  tableRows: [50, 7],
  bottom: [2, 4],
  top: [1],
  interaction: "dot",
  optimizer: "adagrad",
} as const;
const plan = planModel(shape);
const batchShape = { batchSize: 4, denseFeatures: 2, tables: 2, bags: false, lookupCapacity: 8 };
const world = openWorld();
try {
  const group = await MpiRanks.open(
    world,
    { plan, batchShape, blas: "auto", precision: "fp32", devices: undefined, tablesOnDevice: false },
    () => {},
  );
  await group.initialise(new Float32Array(plan.denseWords), 1);
  using writer = await CheckpointWriter.start(group, () => {});
  const save = (step: number) =>
    writer.begin({ run, best: false, step: false, keep: 0, tables }, {
      ...{ model: shape, seed: 1, dataset: "data", run: "run" },
      state: {
        ...{
          epoch: 0,
          step,
          samples: 0,
          optimizerSteps: step,
          bestAuc: null,
          evaluationsSinceBest: 0,
          finished: false,
        },
        scheduler: new ShuffleScheduler({ cold: 1, hot: 0 }, "hot", 50).state,
      },
    });
  await save(1);
  const { size: hosts, rank: host } = world.peers;
  const { full } = group.memory;
  if (Number(row) % hosts === host) {
    group.memory.host.floats(full.weights)[Math.floor(Number(row) / hosts) * shape.dim + 2] = NaN;
    console.log(findBadTensor(group.memory, tables, (position) => group.rowAt(position)));
  }
  await save(2);
  console.log("saved");
} catch (error) {
  console.error(messageOf(error));
  world.abort(error);
}
