/** Ranks of one node divide and add dense gradients. */
import assert from "node:assert/strict";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { GradientSum } from "../../src/parallel/gradient_sum.ts";
import { ALONE, ONE_RANK } from "../../src/parallel/host_group.ts";
import { ThreadGroup, threadGroupMemory } from "../../src/parallel/threads.ts";

/** The parts of all ranks of a node in the sum of vectors that hold the rank plus 1. */
function sumsOf(words: number, ranks: number) {
  const host = new ReferenceBackend();
  const memory = threadGroupMemory(ranks);
  const gradients = Array.from({ length: ranks }, (_, rank) => {
    const vector = host.allocate(words, "test");
    host.upload(new Float32Array(words).fill(rank + 1), vector);
    return vector;
  });
  const sums = gradients.map((_, rank) => {
    // No rank waits: what others wrote is there.
    const node = Object.assign(new ThreadGroup(memory, rank), { barrier() {} });
    return new GradientSum({ world: node, node, peers: ALONE, devices: undefined }, host, gradients);
  });
  return { host, gradients, sums };
}

Deno.test("shares of all ranks cover a vector once and begin at whole cache lines", () => {
  for (const words of [1, 15, 16, 100, 4096, 100_003]) {
    for (const ranks of [1, 2, 3, 7]) {
      let next = 0;
      for (const { share } of sumsOf(words, ranks).sums) {
        assert.equal(share.first, next);
        assert.equal(share.first % 16, 0);
        assert.ok(share.words >= 0 && share.words <= words / ranks + 32);
        next = share.first + share.words;
      }
      assert.equal(next, words);
    }
  }
});

Deno.test("each rank holds the sum in its share and leaves the others' shares of its gradients alone", () => {
  const { host, gradients, sums } = sumsOf(100, 3);
  for (const sum of sums) sum.sum();
  for (const [rank, { share }] of sums.entries()) {
    const own = host.floats(gradients[rank]);
    const expected = (i: number) => i >= share.first && i < share.first + share.words ? 1 + 2 + 3 : rank + 1;
    assert.ok(own.every((value, i) => value === expected(i)), `rank ${rank}`);
  }
});

Deno.test("the sum of a rank alone is its own gradients", () => {
  const { host, gradients } = sumsOf(3, 1);
  const sum = new GradientSum(ONE_RANK, host, gradients);
  for (let i = 0; i < 3; i++) sum.sum();
  assert.deepEqual(sum.share, { first: 0, words: 3 });
  assert.deepEqual([...host.floats(gradients[0])], [1, 1, 1]);
});
