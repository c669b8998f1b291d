import assert from "node:assert/strict";
import { cpuOptions, openHost } from "../../src/backend/open.ts";
import { OPTIMIZER_NAMES, type OptimizerName } from "../../src/optimizer/optimizers.ts";
import { Random } from "../../src/random.ts";
import { newSnapshotMemory, SnapshotKeeper, SnapshotTaker } from "../../src/checkpoint/table_snapshot.ts";
import { localModel } from "../support/local_model.ts";

const ROWS = 1000;
const DIM = 3;

async function snapshotOf(optimizer: OptimizerName, journalRows = ROWS) {
  const host = await openHost(await cpuOptions("wasm"));
  const shape = {
    dim: DIM,
    tableRows: [400, 600],
    bottom: [2, DIM],
    top: [1],
    interaction: "dot" as const,
    optimizer,
  };
  const batchShape = { batchSize: 2, denseFeatures: 2, tables: 2, bags: false, lookupCapacity: 4 };
  const { full } = localModel(host, shape, batchShape).memory;
  const memory = newSnapshotMemory(shape, full, host, 0, { chunkBytes: 16 * 4 * DIM, journalRows });
  for (const words of [memory.weights, memory.state]) words?.forEach((_, i) => words[i] = i);
  return { memory, keeper: new SnapshotKeeper(memory), taker: new SnapshotTaker(memory) };
}

/** All chunks, one after the other. */
function gather(chunks: { weights: Uint32Array; state: Uint32Array }[]) {
  return { weights: chunks.flatMap(({ weights }) => [...weights]), state: chunks.flatMap(({ state }) => [...state]) };
}

for (const optimizer of OPTIMIZER_NAMES) {
  Deno.test(`a snapshot is the tables as they were, whatever changes while it is taken: ${optimizer}`, async () => {
    const { memory, keeper, taker } = await snapshotOf(optimizer);
    const { weights, state, stateWords } = memory;
    assert.ok(taker.chunks > 50);
    const random = new Random(1);
    // Twice with the same memory: the second snapshot is of what the changes during the first left.
    for (let round = 0; round < 2; round++) {
      const before = { weights: [...weights], state: [...state ?? []] };
      keeper.begin();
      const chunks = [];
      for (let chunk = 0; chunk < taker.chunks; chunk++) {
        for (let step = 0; step < 3; step++) {
          const rows = Uint32Array.from({ length: 8 }, () => random.below(ROWS));
          keeper.keep(rows, 0, 1, rows.length, () => {});
          for (const row of rows) {
            weights.fill(random.next(), row * DIM, (row + 1) * DIM);
            state?.fill(random.next(), row * stateWords, (row + 1) * stateWords);
          }
        }
        const taken = taker.take(chunk);
        chunks.push({ weights: taken.weights.slice(), state: taken.state.slice() });
      }
      keeper.end();
      assert.deepEqual(gather(chunks), before);
      assert.ok(keeper.count > 200 && keeper.count < 900, `${keeper.count} rows were kept`);
      assert.notDeepEqual([...weights], before.weights);
    }
  });
}

Deno.test("rows that were taken, or kept before, are not kept again; nor is anything without a snapshot", async () => {
  const { keeper, taker } = await snapshotOf("sgd");
  const keep = (...rows: number[]) => keeper.keep(Uint32Array.from(rows), 0, 1, rows.length, () => {});
  keep(1, 2, 3);
  assert.equal(keeper.count, 0);
  keeper.begin();
  keep(1, 2, 2, 1, 999);
  assert.equal(keeper.count, 3);
  taker.take(0);
  keep(0, 3, 15);
  assert.equal(keeper.count, 3);
  keep(16);
  assert.equal(keeper.count, 4);
  keeper.end();
  keep(500);
  assert.equal(keeper.count, 4);
});

Deno.test("rows of a batch are kept from its segments", async () => {
  const { memory, keeper } = await snapshotOf("sgd");
  keeper.begin();
  keeper.keep(Uint32Array.of(7, 7, 20, 99, 30, 98), 2, 2, 2, () => {});
  assert.deepEqual([...memory.keptRows.subarray(0, 2)], [20, 30]);
});

Deno.test("with a full journal the writer is waited for, and training hears when that fails", async () => {
  const { memory, keeper, taker } = await snapshotOf("sgd", 10);
  const rows = Uint32Array.from({ length: 40 }, (_, i) => 25 * i);
  keeper.begin();
  assert.throws(
    () =>
      keeper.keep(rows, 0, 1, rows.length, () => {
        throw new Error("the writer failed");
      }),
    /the writer failed/,
  );
  keeper.begin();
  const chunks: ReturnType<typeof taker.take>[] = [];
  const before = [...memory.weights];
  // The writer's part is done in the call that waits for it.
  keeper.keep(rows, 0, 1, rows.length, () => {
    for (let chunk = 0; chunk < taker.chunks; chunk++) {
      const { weights, state } = taker.take(chunk);
      chunks.push({ weights: weights.slice(), state });
    }
  });
  assert.equal(chunks.length, taker.chunks);
  memory.weights.fill(0);
  assert.deepEqual(gather(chunks).weights, before);
});
