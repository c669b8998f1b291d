/** One rank of a benchmark, started by mpirun: trains on given batches of a layout, without a run. */
import { writeStep } from "../src/optimizer/optimizers.ts";
import type { Preset } from "../src/config/config.ts";
import { type MpiWorld, openWorld } from "../src/parallel/mpi_world.ts";
import { type BatchKind, Layout } from "../src/layout/layout.ts";
import { MpiRanks } from "../src/ranks/mpi_ranks.ts";
import { shrunkPlan } from "./shrunk_model.ts";

/** Joins the other ranks. Arguments of the process: directory of the layout, rows of the tables as JSON, preset. */
export class BenchRank implements AsyncDisposable {
  readonly world: MpiWorld;
  readonly layout: Layout;
  readonly group: MpiRanks;

  private constructor(world: MpiWorld, layout: Layout, group: MpiRanks) {
    this.world = world;
    this.layout = layout;
    this.group = group;
  }

  /** Collective: all ranks must call it. */
  static async open(): Promise<BenchRank> {
    const [directory, tableRows, preset] = Deno.args;
    const layout = Layout.open(directory);
    const { shape: batchShape, hotRows } = layout;
    const plan = shrunkPlan(preset as Preset, JSON.parse(tableRows), batchShape.denseFeatures);
    const world = openWorld();
    const placed = { blas: "auto", precision: "fp32", devices: undefined, tablesOnDevice: false } as const;
    const run = { plan, batchShape, hotRows, ...placed };
    return new BenchRank(world, layout, await MpiRanks.open(world, run, () => {}));
  }

  /** Reads a batch and queues a step over it; batches are used in turn. */
  train(kind: BatchKind, index: number): void {
    const slot = this.group.acquire();
    const batch = this.group.batches[slot];
    this.layout.readBatch(kind, index % this.layout.batches(kind), batch);
    writeStep(this.group.memory.plan.shape.optimizer, batch.floats, 0.01);
    this.group.train(slot);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.group[Symbol.asyncDispose]();
    this.world[Symbol.dispose]();
    this.layout[Symbol.dispose]();
  }
}
