/** Sharded tables: a non-finite row on any host prevents the checkpoint. */
import assert from "node:assert/strict";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { runMpi, testWithEach } from "../support/mpirun.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const PROGRAM = new URL("../support/mpi_not_finite.ts", import.meta.url);

testWithEach("a checkpoint of sharded tables with a row that is no number is refused", async (launcher) => {
  for (const row of [6, 53]) { // of the first host, and of the second
    using directory = new TemporaryDirectory();
    const { code, stdout, stderr } = await runMpi(launcher, [1, 1], PROGRAM, [directory.path, `${row}`]);
    assert.notEqual(code, 0);
    assert.doesNotMatch(stdout, /saved/);
    const bad = row === 6 ? "row 6 of table C1 holds NaN" : "row 3 of table C2 holds NaN";
    assert.ok(stderr.includes(bad), stderr);
    assert.ok(stdout.includes(`first of all ${bad}`), stdout);
    assert.equal(Checkpoint.open(directory.join("last")).body.state.step, 1);
  }
});
