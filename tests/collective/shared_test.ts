import assert from "node:assert/strict";
import { ReferenceBackend } from "../../src/backend/reference/reference.ts";
import { abortBarrier, BARRIER_WORDS, SharedBarrier, SharedCollective } from "../../src/collective/shared.ts";

function barrierMemory(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4 * BARRIER_WORDS));
}

function groupOf(words: number, ranks: number, barrier = barrierMemory()): SharedCollective[] {
  const host = new ReferenceBackend();
  const gradients = Array.from({ length: ranks }, () => host.allocate(words, "test"));
  return gradients.map((_, rank) => new SharedCollective(host, rank, new SharedBarrier(barrier, ranks), gradients));
}

Deno.test("shares of all ranks cover a vector once and begin at whole cache lines", () => {
  for (const words of [1, 15, 16, 100, 4096, 100_003]) {
    for (const ranks of [1, 2, 3, 7]) {
      let next = 0;
      for (const collective of groupOf(words, ranks)) {
        const { first, words: count } = collective.share(words);
        assert.equal(first, next);
        assert.equal(first % 16, 0);
        assert.ok(count >= 0 && count <= words / ranks + 32);
        next = first + count;
      }
      assert.equal(next, words);
    }
  }
});

Deno.test("a rank alone passes every barrier, and its sum is its own gradients", () => {
  const host = new ReferenceBackend();
  const gradients = host.allocate(3, "test");
  host.upload(Float32Array.of(1, 2, 3), gradients);
  const collective = new SharedCollective(host, 0, new SharedBarrier(barrierMemory(), 1), [gradients]);
  for (let i = 0; i < 3; i++) collective.barrier();
  collective.sum(gradients);
  assert.deepEqual([...host.floats(gradients)], [1, 2, 3]);
});

Deno.test("after an abort no rank waits for another that does not come", () => {
  const barrier = barrierMemory();
  const [one, other] = groupOf(4, 2, barrier);
  abortBarrier(barrier);
  assert.throws(() => one.barrier(), /ranks were stopped/);
  assert.throws(() => other.barrier(), /ranks were stopped/);
});
