/** Contract of every ProcessGroup over host memory, checked on all ranks at the same time. */
import assert from "node:assert/strict";
import { consecutive, expectSame, inTurn, PeerFailed, type ProcessGroup } from "../../src/parallel/process_group.ts";
import { together } from "../../src/parallel/process_group.ts";

/** More words than fit into a slot of a thread group, and not a multiple of it. */
const LARGE = 10_001;

/** Throws on a rank that detects an error. */
export async function checkGroup(group: ProcessGroup): Promise<void> {
  const { rank, size } = group;
  const ranks = Array.from({ length: size }, (_, r) => r);
  assert.ok(rank >= 0 && rank < size && group.localRank < group.localSize && group.localSize <= size);
  group.barrier();

  assert.deepEqual(group.gather({ rank }), ranks.map((r) => ({ rank: r })));
  assert.equal(group.broadcast(`from ${rank}`), "from 0");
  const long = "é".repeat(LARGE + rank);
  assert.deepEqual(group.gather(long).map((text) => text.length), ranks.map((r) => LARGE + r));

  const counts = Uint32Array.from({ length: LARGE }, (_, i) => i + rank);
  group.allReduce(counts);
  const sumOfRanks = ranks.reduce((sum, r) => sum + r, 0);
  assert.ok(counts.every((count, i) => count === size * i + sumOfRanks));

  // Sums are in rank order; another order would give other bits.
  const terms = ranks.map((r) => Math.fround(1 / (r + 3)));
  const floats = new Float32Array(3).fill(terms[rank]);
  group.allReduce(floats);
  assert.equal(floats[2], terms.reduce((sum, term) => Math.fround(sum + term)));

  // Rank r contributes r parts of many words; rank 0 contributes none.
  const parts = consecutive(ranks.map((r) => r * LARGE));
  const all = new Float32Array(LARGE * sumOfRanks).fill(-1);
  group.allGather(new Float32Array(rank * LARGE).fill(rank), all, parts);
  for (const r of ranks) {
    const part = all.subarray(parts.firsts[r], parts.firsts[r] + parts.counts[r]);
    assert.ok(part.length === r * LARGE && part.every((value) => value === r));
  }

  // Rank r sends r * s words to rank s, with two pending exchanges.
  const exchange = (scale: number) => {
    const sent = consecutive(ranks.map((s) => scale * rank * s));
    const source = Float32Array.from({ length: sumOfRanks * scale * rank }, (_, i) => 1000 * rank + i % 1000);
    const target = new Float32Array(sumOfRanks * scale * rank).fill(-1);
    const work = group.allToAll(source, sent, target, sent);
    return () => {
      work.wait();
      for (const r of ranks) {
        const first = ranks.slice(0, rank).reduce((n, s) => n + scale * r * s, 0);
        const part = target.subarray(sent.firsts[r], sent.firsts[r] + sent.counts[r]);
        assert.ok(part.every((value, i) => value === 1000 * r + (first + i) % 1000), `from ${r} to ${rank}`);
      }
    };
  };
  for (let round = 0; round < 2; round++) [exchange(LARGE), exchange(3)].forEach((complete) => complete());

  const turns: number[] = [];
  assert.equal(await inTurn(group, () => turns.push(rank)), 1);
  expectSame(group, "work", "the size", `${size}`);
  assert.equal(together(group, () => rank), rank);
  assert.equal(group.failure, undefined);
  checkFailures(group);
  group.barrier();
}

/** A failure on one or more ranks is reported as one error of one rank, and all other ranks learn of it. */
function checkFailures(group: ProcessGroup): void {
  const last = group.size - 1;
  const expectFailure = (failing: (rank: number) => unknown, first: number) => {
    const own = failing(group.rank);
    assert.throws(
      () => group.agree(own),
      (error) => error === group.failure && (group.rank === first ? error === own : error instanceof PeerFailed),
    );
  };
  expectFailure((rank) => rank === last ? new Error("the last one's") : undefined, last);
  expectFailure((rank) => new Error(`rank ${rank}'s`), 0);
  // A rank that only learned of the failure must not replace the error of the rank that failed.
  expectFailure((rank) => rank === last ? new Error("the last one's") : new PeerFailed("told"), last);
}
