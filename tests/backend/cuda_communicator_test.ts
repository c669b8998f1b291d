/**
 * Communicators of CUDA backends: the vectors they exchange, directly and in a recorded sequence, and the bytes they
 * count.
 */
import assert from "node:assert/strict";
import { testDevice } from "../support/cuda_device.ts";
import type { RankAnswer, RankOrder } from "./communicator_rank.ts";

async function ranksOf(ranks: number): Promise<RankAnswer[]> {
  const meeting = new SharedArrayBuffer(8 + 128);
  return await Promise.all(Array.from({ length: ranks }, (_, rank) => {
    const worker = new Worker(new URL("./communicator_rank.ts", import.meta.url), { type: "module" });
    return new Promise<RankAnswer>((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
      };
      worker.postMessage({ meeting, rank, ranks } satisfies RankOrder);
    }).finally(() => worker.terminate());
  }));
}

// On a GPU one rank: how many there are is not known, and NCCL takes each once.
for (const ranks of testDevice === "cuda" ? [1] : [1, 2, 3]) {
  Deno.test(`${ranks} ranks exchange on their streams; bytes counted are bytes moved`, async () => {
    const answers = await ranksOf(ranks);
    const sum = ranks * (ranks + 1) / 2;
    const parts = Array.from({ length: ranks }, (_, r) => [r, 10 * r, 100 * r]).flat();
    for (const { words, all, repeated, refused, counters } of answers) {
      assert.deepEqual([...words], new Array(7).fill(sum));
      assert.deepEqual([...all], parts);
      // The sequence runs once while it is made and three times after.
      assert.deepEqual([...repeated], [...new Array(5).fill(sum * ranks ** 4), sum, sum]);
      assert.match(refused, /Cannot exchange 8 words of vector: it has 7/);
      assert.deepEqual([counters.launches, counters.graphLaunches], [4, 3]);
    }
    const total = (of: (answer: RankAnswer) => number) => answers.reduce((all, answer) => all + of(answer), 0);
    const stated = 8 * (ranks - 1) * (7 + 4 * 5) + 4 * ranks * (ranks - 1) * 5 * 3;
    assert.equal(total(({ counters }) => counters.bytesFromRanks), stated);
    if (testDevice === "emulated") assert.equal(total(({ emulatedBytes }) => emulatedBytes), stated);
  });
}
