/** Run by mpirun: every operation of ffi/mpi.ts between all ranks, checked on each. Prints one line per rank. */
import assert from "node:assert/strict";
import { MpiError, MpiTimeout, openMpi } from "../../ffi/mpi.ts";
import { consecutive } from "../../src/parallel/process_group.ts";

const mpi = openMpi();
const { world } = mpi;
const { rank, ranks } = world;
const request = world.request();
const own = (words: number) => Float32Array.from({ length: words }, (_, i) => 10 * rank + i);
const all = Array.from({ length: ranks }, (_, r) => r);

assert.ok(ranks >= 2 && rank >= 0 && rank < ranks);
assert.ok(mpi.version.length > 3 && mpi.host.length > 0);
assert.equal(request.done(), true, "nothing was begun");

// Rank r contributes r + 1 words.
const counts = all.map((r) => r + 1);
const gathered = new Float32Array(counts.reduce((a, b) => a + b));
world.allGather(own(rank + 1), gathered, consecutive(counts), request).wait();
assert.deepEqual([...gathered], all.flatMap((r) => counts.slice(0, r + 1).map((_, i) => 10 * r + i)));

// Rank r sends r + s words to rank s, so rank 0 sends none to itself.
const sent = consecutive(all.map((s) => rank + s));
const received = consecutive(all.map((r) => r + rank));
const source = Float32Array.from({ length: all.reduce((n, s) => n + rank + s, 0) }, (_, i) => 1000 * rank + i);
const target = new Float32Array(all.reduce((n, r) => n + r + rank, 0));
world.allToAll(source, sent, target, received, request).wait();
for (const r of all) {
  const first = all.slice(0, rank).reduce((n, s) => n + r + s, 0);
  const part = target.subarray(received.firsts[r], received.firsts[r] + received.counts[r]);
  assert.deepEqual([...part], Array.from({ length: r + rank }, (_, i) => 1000 * r + first + i));
}

// Large enough for every protocol of the libraries, in memory that processes could share.
const WORDS = 300_000;
const large = new Float32Array(new SharedArrayBuffer(4 * WORDS)).fill(rank + 1);
const larges = new Float32Array(new SharedArrayBuffer(4 * ranks * WORDS));
world.allGather(large, larges, consecutive(all.map(() => WORDS)), request);
let polls = 0;
while (!request.done()) polls++;
assert.ok(polls >= 0 && larges.every((value, i) => value === Math.floor(i / WORDS) + 1));

const halves = world.split(rank % 2, ranks - rank);
assert.equal(halves.ranks, all.filter((r) => r % 2 === rank % 2).length);
assert.equal(halves.rank, all.filter((r) => r % 2 === rank % 2 && r > rank).length, "ordered by key");

assert.throws(
  () => world.allToAll(source, { ...sent, counts: sent.counts.map(() => -1) }, target, received, request),
  (error) =>
    error instanceof MpiError && error.call === "MPI_Ialltoallv" && error.code !== 0 && /count/i.test(error.message),
);

// The others arrive only after the first timed out; the operation can still be completed.
const second = world.split(0, rank);
const go = second.request();
if (rank === 0) {
  world.timeoutMs = 100;
  assert.throws(() => world.barrier(request).wait(), MpiTimeout);
  world.timeoutMs = Infinity;
  second.barrier(go).wait();
  request.wait();
} else {
  second.barrier(go).wait();
  world.barrier(request).wait();
}
console.log(`rank ${rank} of ${ranks} is done`);
mpi.finalize();
