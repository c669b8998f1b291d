/** MPI processes of one host with rows on disk share the rows in memory, and the first process moves them. */
import assert from "node:assert/strict";
import type { TrainConfig } from "../../src/config/config.ts";
import { startRun } from "../../src/run/run.ts";
import { checkpointsOf } from "../support/checkpoint_words.ts";
import { runMpi, testWithEach } from "../support/mpirun.ts";
import { CONFIG, dataOf, quiet, stopAt } from "../support/row_runs.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const TRAINING = new URL("../support/mpi_training.ts", import.meta.url);
const memory = { share: 0.05 };

for (const ranks of [2, 3]) {
  testWithEach(
    `${ranks} processes with rows on disk leave the bits of ${ranks} workers in memory`,
    async (launcher) => {
      using place = new TemporaryDirectory();
      const dataset = dataOf(place, { bags: ranks === 3 });
      const config: TrainConfig = { ...CONFIG, ranks, testFreq: 17, checkpointSteps: 10 };
      const [plain, out] = ["plain", "run"].map((name) => place.join(name));
      await startRun(config, dataset, { out: plain, report: quiet });
      const train = async (...args: string[]) => {
        const { code, stdout, stderr } = await runMpi(launcher, [ranks], TRAINING, args);
        assert.equal(code, 0, stderr);
        return JSON.parse(stdout);
      };
      const { moved } = await train(dataset.directory, out, JSON.stringify({ ...config, memory }));
      assert.ok(moved.read > 0 && moved.written > 0);
      assert.deepEqual(checkpointsOf(out), checkpointsOf(plain));
      // Threads begin, and processes continue.
      Deno.removeSync(out, { recursive: true });
      await stopAt(23, (stop) => startRun({ ...config, memory }, dataset, { out, ...stop }));
      await train("resume", out);
      assert.deepEqual(checkpointsOf(out), checkpointsOf(plain));
    },
  );
}

testWithEach("rows of several hosts stay in memory, and a budget for them is refused", async (launcher) => {
  using place = new TemporaryDirectory();
  const dataset = dataOf(place);
  const config = JSON.stringify({ ...CONFIG, ranks: 2, memory });
  const { code, stderr } = await runMpi(launcher, [1, 1], TRAINING, [dataset.directory, place.join("run"), config]);
  assert.notEqual(code, 0);
  assert.match(
    stderr,
    /Cannot limit the memory of training over 2 hosts: .*; train on one host, or leave out --memory/,
  );
});
