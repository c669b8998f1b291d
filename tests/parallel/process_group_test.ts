/** Groups of threads and of processes obey the same contract. */
import assert from "node:assert/strict";
import { HotsetError } from "../../src/errors.ts";
import { ALONE } from "../../src/parallel/host_group.ts";
import { ThreadGroup, threadGroupMemory } from "../../src/parallel/threads.ts";
import { Mailbox } from "../../src/threads/mailbox.ts";
import { checkGroup } from "../support/check_group.ts";
import { runMpi, testWithEach } from "../support/mpirun.ts";
import { withThreads } from "../support/thread_group.ts";

const THREAD = new URL("../support/check_group_thread.ts", import.meta.url);
const PROCESS = new URL("../support/check_group_process.ts", import.meta.url);

Deno.test("a group of one does what groups do", () => checkGroup(ALONE));

for (const size of [2, 3]) {
  Deno.test(`a group of ${size} threads`, async () => {
    const tasks = new Array<undefined>(size).fill(undefined);
    assert.deepEqual(await withThreads(THREAD, threadGroupMemory(size), tasks), tasks);
  });
}

testWithEach("all groups of processes on two hosts", async (launcher) => {
  const { code, stdout, stderr } = await runMpi(launcher, [2, 2], PROCESS, []);
  assert.equal(code, 0, stderr);
  assert.equal(stdout.trim().split("\n").length, 4, stdout);
});

Deno.test("after an abort no thread waits for another that does not come, and the first error stays", () => {
  const memory = threadGroupMemory(2);
  const [one, other] = [new ThreadGroup(memory, 0), new ThreadGroup(memory, 1)];
  one.abort(new HotsetError("the disk is full"));
  other.abort(new HotsetError("later"));
  assert.throws(() => one.barrier(), /ranks were stopped/);
  assert.throws(() => other.agree(), /ranks were stopped/);
  assert.equal(new Mailbox(memory.mailbox).failure?.message, "the disk is full");
});
