/** The memory of a plan equals the allocations of real backends: in the WASM memory, and on the emulated device. */
import assert from "node:assert/strict";
import { openCuda } from "../../src/backend/cuda/open.ts";
import { type CpuOptions, cpuOptions, openHost } from "../../src/backend/open.ts";
import { ALONE } from "../../src/parallel/host_group.ts";
import type { ProcessGroups } from "../../src/parallel/process_group.ts";
import { elementsOf } from "../../src/model/layers/layer.ts";
import { planModel } from "../../src/model/shape.ts";
import type { OptimizerName } from "../../src/optimizer/optimizers.ts";
import { type BytesByPurpose, countMemory } from "../../src/ranks/count_memory.ts";
import { Rank } from "../../src/ranks/rank.ts";
import { LocalRank } from "../../src/ranks/rank_group.ts";
import { allocateOnDevice, allocateTrainState, type TrainStateOptions } from "../../src/ranks/train_state.ts";
import { absent } from "../support/libraries.ts";
import { WorkerRanks } from "../../src/ranks/worker_ranks.ts";

const LINE_BYTES = 64;
const MODES = ["cpu", "fae", "hybrid", "gpu"] as const;
type Mode = (typeof MODES)[number];

function optionsOf(mode: Mode, ranks: number, optimizer: OptimizerName) {
  return {
    plan: planModel({ dim: 4, tableRows: [3000, 40], bottom: [3, 4], top: [5, 1], interaction: "dot", optimizer }),
    batchShape: { batchSize: 11, denseFeatures: 3, tables: 2, bags: true, lookupCapacity: 31 },
    hotRows: mode === "fae" ? Uint32Array.from({ length: 70 }, (_, i) => 2 * i) : undefined,
    mostDistinct: { hot: 6, cold: 29 },
    ranks,
    tablesOnDevice: mode === "gpu",
  } satisfies Partial<TrainStateOptions>;
}

function sum(bytes: BytesByPurpose): number {
  return bytes.values().reduce((total, part) => total + part, 0);
}

/** Bytes of the kernels' memory that were handed out. */
function taken({ kernelMemory }: CpuOptions): number {
  return LINE_BYTES * kernelMemory.nextLine[0];
}

/** Every allocation begins a line, and a run of this size makes fewer than so many. */
function assertTaken(found: number, counted: BytesByPurpose, what: string): void {
  const spare = found - sum(counted);
  assert.ok(spare >= 0 && spare < 120 * LINE_BYTES, `${what}: ${found} bytes taken, ${sum(counted)} counted`);
}

for (const mode of ["cpu", "fae"] as const) {
  for (const ranks of [1, 2]) {
    Deno.test(`mode ${mode} with ${ranks} rank${ranks === 1 ? "" : "s"} on the CPU takes the host memory that is counted`, async () => {
      const options = optionsOf(mode, ranks, "adam");
      const hostOptions = await cpuOptions("wasm");
      const empty = taken(hostOptions);
      const host = await openHost(hostOptions);
      const ofHost = taken(hostOptions) - empty;
      const state = allocateTrainState({ ...options, host, device: host });
      await using _group = ranks === 1 ? new LocalRank(state) : await WorkerRanks.start(state, hostOptions);
      const hosts = ranks === 1 ? 1 : 1 + ranks; // each worker has a backend of its own
      const { host: counted, device } = countMemory({ ...options, onDevice: false });
      assertTaken(taken(hostOptions) - empty - hosts * ofHost, counted, mode);
      assert.equal(device.size, 0);
      assert.equal(counted.get("embedding tables"), 4 * 3040 * 4);
      assert.equal(counted.get("dense gradients"), ranks * 4 * options.plan.denseWords);
    });
  }
}

for (const ranks of [1, 2]) {
  Deno.test(`samples in micro-batches take the host memory that is counted: ranks ${ranks}`, async () => {
    // 256 samples of a layer so wide go through the model together: three times on the first rank, or twice.
    const top = [9_000, 1];
    const plan = planModel({ ...optionsOf("cpu", ranks, "sgd").plan.shape, top });
    const batchShape = { ...optionsOf("cpu", ranks, "sgd").batchShape, batchSize: 600, lookupCapacity: 1800 };
    const options = { ...optionsOf("cpu", ranks, "sgd"), plan, batchShape, mostDistinct: { hot: 6, cold: 500 } };
    const hostOptions = await cpuOptions("wasm");
    const empty = taken(hostOptions);
    const host = await openHost(hostOptions);
    const ofHost = taken(hostOptions) - empty;
    const state = allocateTrainState({ ...options, host, device: host });
    await using _group = ranks === 1 ? new LocalRank(state) : await WorkerRanks.start(state, hostOptions);
    const { host: counted } = countMemory({ ...options, onDevice: false });
    assertTaken(taken(hostOptions) - empty - (ranks === 1 ? 1 : 1 + ranks) * ofHost, counted, "micro-batches");
    const shapes = plan.layers.flatMap(({ parameters }) => parameters.map(({ shape }) => elementsOf(shape)));
    const addends = shapes.reduce((sum, words) => sum + words); // of micro-batches after the first
    assert.equal(counted.get("dense gradients"), ranks * 4 * (plan.denseWords + addends));
  });
}

const noBf16 = absent("bf16");
for (const ranks of [1, 2]) {
  Deno.test({
    name: `${ranks} rank${ranks === 1 ? " takes" : "s take"} the memory that is counted for products in bf16${
      noBf16 === undefined ? "" : ` (skipped: ${noBf16})`
    }`,
    ignore: noBf16 !== undefined,
    fn: async () => {
      const bottom = [3, 40, 48, 4];
      const plan = planModel({
        dim: 4,
        tableRows: [3000, 40],
        bottom,
        top: [5, 1],
        interaction: "dot",
        optimizer: "sgd",
      });
      const options = { ...optionsOf("cpu", ranks, "sgd"), plan };
      const hostOptions = await cpuOptions("onednn", "bf16");
      const empty = taken(hostOptions);
      const host = await openHost(hostOptions);
      const ofHost = taken(hostOptions) - empty;
      const state = allocateTrainState({ ...options, host, device: host });
      await using _group = ranks === 1 ? new LocalRank(state) : await WorkerRanks.start(state, hostOptions);
      const hosts = ranks === 1 ? 1 : 1 + ranks;
      const { host: counted } = countMemory({ ...options, onDevice: false, precision: "bf16" });
      assertTaken(taken(hostOptions) - empty - hosts * ofHost, counted, "bf16");
      // Inputs, weights and gradients of the layer 40-48, which alone is wide; 11 samples, of which rank 1 has five.
      const samples = ranks === 1 ? [11] : [6, 5];
      const words = samples.reduce((sum, n) => sum + (n * 40 + 40 * 48 + n * 48) / 2, 0);
      assert.equal(counted.get("operands in bf16"), 4 * words);
    },
  });
}

/** Bytes of the emulated device that are in use. */
function inUse(backend: ReturnType<typeof openCuda>): number {
  const numbers = new BigUint64Array(2);
  backend.device.libraries.runtime.cudaMemGetInfo(numbers.subarray(0, 1), numbers.subarray(1));
  return Number(numbers[1] - numbers[0]);
}

for (const mode of ["fae", "hybrid", "gpu"] as const) {
  for (const ranks of [1, 2]) {
    Deno.test(`mode ${mode} with ${ranks} device${ranks === 1 ? "" : "s"} takes the memory that is counted, on each and on the host`, async () => {
      const options = optionsOf(mode, ranks, "adagrad");
      const counted = countMemory({ ...options, onDevice: true });
      const hostOptions = await cpuOptions("wasm");
      const host = await openHost(hostOptions);
      const empty = taken(hostOptions);
      const state = ranks === 1 ? undefined : allocateTrainState({ ...options, host, device: undefined });
      for (let rank = 0; rank < ranks; rank++) {
        using device = openCuda({ device: "emulated" });
        if (state === undefined) {
          const _rank = new LocalRank(allocateTrainState({ ...options, host, device }));
        } else {
          const group = { rank, size: ranks, localRank: rank, localSize: ranks } as ProcessGroups["node"];
          const groups = { world: group, node: group, peers: ALONE, devices: group as unknown as undefined };
          new Rank(allocateOnDevice({ ...state, device: host }, { ...options, host, device }), groups);
        }
        // An empty buffer takes a word; the second of two ranks has fewer samples.
        const spare = inUse(device) - sum(counted.device);
        assert.ok(rank === 0 ? spare >= 0 && spare <= 8 : spare <= 8 && spare > -1000, `rank ${rank}: ${spare} bytes`);
      }
      const withoutCopies = new Map(counted.host);
      withoutCopies.delete("copies to and from devices"); // pinned, not in the kernels' memory
      assertTaken(taken(hostOptions) - empty, withoutCopies, mode);
    });
  }
}

Deno.test("with weights of lookups a device that updates rows takes memory for the gradient of each lookup", () => {
  const weighted = (mode: Mode) => {
    const options = optionsOf(mode, 1, "sgd");
    return { ...options, batchShape: { ...options.batchShape, weightedLookups: true }, onDevice: true };
  };
  const purpose = "gradients of lookups";
  assert.equal(countMemory(weighted("hybrid")).device.get(purpose), undefined);
  assert.equal(countMemory({ ...optionsOf("gpu", 1, "sgd"), onDevice: true }).device.get(purpose), undefined);
  using device = openCuda({ device: "emulated" });
  const [header, segments, bags, weights, gradients, table] = [16, 64, 31, 31, 88, 40].map((words) =>
    device.allocate(words, "operand")
  );
  const before = inUse(device);
  const shape = { optimizer: "sgd", dim: 4, rank: 0, ranks: 1 } as const;
  device.updateRows(shape, header, segments, bags, gradients, table, undefined, weights);
  device.synchronize();
  for (const mode of ["fae", "gpu"] as const) {
    assert.equal(countMemory(weighted(mode)).device.get(purpose), inUse(device) - before);
  }
});
