/** The emulated NCCL: all ranks get the same sums, and calls that would block a GPU forever are detected. */
import assert from "node:assert/strict";
import { checkedNccl, Collectives, UNIQUE_ID_BYTES } from "../../ffi/nccl.ts";
import { pointerAt } from "../../ffi/pointer.ts";
import type { RankOrder, Scenario } from "./nccl_rank.ts";
import { TestDevice } from "./support.ts";
import { someOf } from "../support/series.ts";

const { float32, sum } = Collectives;

type Outcome = { values: Float32Array; bytes: number; error?: undefined } | { error: string };

/** The same value as in nccl_rank.ts, which only a worker can import. */
const valueOf = (rank: number, i: number) => Math.fround(Math.sin(1 + 7 * rank + i) / 3);

/** Runs a scenario on `ranks` threads. */
async function ranksOf(ranks: number, scenario: Scenario, timeoutMs = 20_000): Promise<Outcome[]> {
  const meeting = new SharedArrayBuffer(8 + UNIQUE_ID_BYTES);
  return await Promise.all(Array.from({ length: ranks }, (_, rank) => {
    const worker = new Worker(new URL("./nccl_rank.ts", import.meta.url), { type: "module" });
    return new Promise<Outcome>((resolve) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.postMessage({ meeting, rank, ranks, scenario, timeoutMs } satisfies RankOrder);
    }).finally(() => worker.terminate());
  }));
}

async function succeed(ranks: number, scenario: Scenario) {
  const outcomes = await ranksOf(ranks, scenario);
  return outcomes.map((outcome) => {
    if (outcome.error !== undefined) throw new Error(outcome.error);
    return outcome;
  });
}

/** The sum over all ranks, added in their order, `times` times over. */
function sumOf(ranks: number, words: number): number[] {
  return Array.from({ length: words }, (_, i) => {
    let total = valueOf(0, i);
    for (let r = 1; r < ranks; r++) total = Math.fround(total + valueOf(r, i));
    return total;
  });
}

Deno.test("ncclAllReduce gives every rank the same sum, added in the order of ranks; bytes are counted", async () => {
  for (const ranks of [1, 2, 3]) {
    const outcomes = await succeed(ranks, "allReduce");
    const twice = (values: number[]) =>
      values.map((value) => {
        let total = value;
        for (let r = 1; r < ranks; r++) total = Math.fround(total + value);
        return total;
      });
    const expected = [1, 5, 70_001].flatMap((words) => [...sumOf(ranks, words), ...sumOf(ranks, words)]);
    for (const { values } of outcomes) assert.deepEqual([...values], [...expected, ...twice(sumOf(ranks, 3))]);
    const bytes = outcomes.reduce((total, outcome) => total + outcome.bytes, 0);
    assert.equal(bytes, 8 * (ranks - 1) * (2 * (1 + 5 + 70_001) + 2 * 3));
  }
});

Deno.test("ncclAllGather gives every rank the parts of all, apart and in place; bytes are counted", async () => {
  for (const ranks of [1, 2, 3]) {
    const outcomes = await succeed(ranks, "allGather");
    const all = (words: number) =>
      Array.from({ length: ranks }, (_, r) => Array.from({ length: words }, (_, i) => valueOf(r, i))).flat();
    const expected = [1, 66_000].flatMap((words) => [...all(words), ...all(words)]);
    for (const { values, bytes } of outcomes) {
      assert.deepEqual([...values], expected);
      assert.equal(bytes, 4 * (ranks - 1) * 2 * 66_001);
    }
  }
});

/** What the rank says that finds the mistake; the other finds it too or hears that this one failed. */
const MISTAKES: [Scenario, RegExp, timeoutMs?: number][] = [
  ["otherLength", /rank \d calls ncclAllReduce of [45] words, rank \d the same of [45]/],
  ["otherOperation", /rank \d calls nccl\w+ of 4 words, rank \d another operation/],
  ["absent", /ncclAllReduce: rank 1 did not arrive within 1 s/, 1_000],
  ["aborts", /ncclAllReduce: rank 1 has failed/],
  ["faults", /ncclAllReduce reaches bytes 0 to 20 of allocation 1 of 16 bytes/],
  ["sameRank", /ncclCommInitRank: rank 0 has already joined/, 500],
  ["otherRanks", /ncclCommInitRank: rank \d has [23] ranks where rank \d has [23]/, 500],
];

for (const [scenario, pattern, timeoutMs] of someOf(MISTAKES, 3)) {
  Deno.test(`ranks that do not agree are found: ${scenario}`, async () => {
    const errors = (await ranksOf(2, scenario, timeoutMs)).flatMap(({ error }) => error ?? []);
    assert.ok(errors.some((error) => pattern.test(error)), errors.join("\n"));
    for (const error of errors.filter((error) => !pattern.test(error))) {
      assert.match(error, /CudaError: .*rank \d (has failed|did not arrive within)/);
    }
  });
}

/** A communicator of one rank on this thread. */
function alone(): { device: TestDevice; nccl: ReturnType<typeof checkedNccl>; communicator: Deno.PointerValue } {
  const device = new TestDevice();
  const nccl = checkedNccl(device.device.nccl);
  const id = new Uint8Array(UNIQUE_ID_BYTES);
  nccl.ncclGetUniqueId(id);
  return { device, nccl, communicator: pointerAt(device.made((slot) => nccl.ncclCommInitRank(slot, 1, id, 0))) };
}

Deno.test("vectors out of bounds, unwritten, misaligned or half in place are found", () => {
  const finds = (pattern: RegExp, program: (joined: ReturnType<typeof alone>) => void) => {
    const joined = alone();
    using device = joined.device;
    assert.throws(() => {
      program(joined);
      device.runtime.cudaStreamSynchronize(device.stream);
    }, pattern);
  };
  const reduce = ({ device, nccl, communicator }: ReturnType<typeof alone>, from: bigint, words: bigint) =>
    nccl.ncclAllReduce(from, from, words, float32, sum, communicator, device.stream);
  finds(
    /ncclAllReduce reaches bytes 0 to 12 of allocation 1 of 8 bytes/,
    (j) => reduce(j, j.device.upload([1, 2]), 3n),
  );
  finds(/ncclAllReduce reads memory that was never written/, (j) => reduce(j, j.device.allocate(8), 2n));
  finds(/ncclAllReduce has a vector at a misaligned address/, (j) => reduce(j, j.device.upload([1, 2]) + 2n, 1n));
  finds(/ncclAllGather sends word 1 of what it receives: not the place of rank 0/, (j) => {
    const memory = j.device.upload([1, 2, 3, 4]);
    j.nccl.ncclAllGather(memory + 4n, memory, 2n, float32, j.communicator, j.device.stream);
  });
});

Deno.test("wrong ids, ranks and types are refused and harm nothing; a communicator is a leak until destroyed", () => {
  const { device, nccl, communicator } = alone();
  const slot = new BigUint64Array(1);
  const id = new Uint8Array(UNIQUE_ID_BYTES);
  assert.throws(() => nccl.ncclCommInitRank(slot, 1, id, 0), /ncclCommInitRank: ncclInvalidArgument \(4\)/);
  nccl.ncclGetUniqueId(id);
  assert.throws(() => nccl.ncclCommInitRank(slot, 2, id, 2), /ncclInvalidArgument/);
  assert.throws(() => nccl.ncclCommInitRank(slot, 65, id, 2), /ncclInvalidUsage \(5\)/);
  const memory = device.upload([1]);
  assert.throws(() => nccl.ncclAllReduce(memory, memory, 1n, 0, sum, communicator, device.stream), /ncclInvalidUsage/);
  assert.ok(device.device.leaks().includes("1 of communicators"));
  nccl.ncclCommDestroy(communicator);
  assert.throws(() => nccl.ncclCommDestroy(communicator), /ncclInvalidArgument/);
  assert.ok(!device.device.leaks().includes("1 of communicators"));
  device[Symbol.dispose]();
});
