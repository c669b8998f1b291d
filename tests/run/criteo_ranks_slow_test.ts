import assert from "node:assert/strict";
import { resolveConfig } from "../../src/config/config.ts";
import { startRun } from "../../src/run/run.ts";
import { ensureDataset } from "../../src/run/stages.ts";
import { LAUNCHERS, runMpi } from "../support/mpirun.ts";
import { CRITEO_RAW, criteoLog, criteoRowsAbsent } from "../support/criteo_rows.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const TRAINING = new URL("../support/mpi_training.ts", import.meta.url);
const launcher = LAUNCHERS.find(({ mpirun }) => mpirun !== undefined);
const skipped = launcher === undefined
  ? LAUNCHERS[0].skipped
  : criteoRowsAbsent === undefined
  ? ""
  : ` (skipped: ${criteoRowsAbsent})`;

Deno.test({
  name: `real clicks: two hosts reach the accuracy of one rank${skipped}`,
  ignore: skipped !== "",
  async fn() {
    using directory = new TemporaryDirectory();
    const dataset = await ensureDataset([criteoLog(0)], CRITEO_RAW, directory.path, () => {});
    const config = resolveConfig("kaggle", {
      ...{ device: "cpu", ranks: 1, optimizer: "adagrad", learningRate: 0.01, save: false },
      hotMemory: 4 * 2 ** 20, // some rows are hot, not all
    });
    const one = await startRun(config, dataset, { out: directory.join("one"), report: () => {} });
    const args = [dataset.directory, directory.join("two"), JSON.stringify(config)];
    const { code, stdout, stderr } = await runMpi(launcher!, [1, 1], TRAINING, args);
    assert.equal(code, 0, stderr);
    const two = JSON.parse(stdout);
    assert.deepEqual([two.hosts, two.ranks], [2, 2]);
    console.log(`AUC of one rank ${one.auc.toFixed(5)}, of two hosts ${two.auc.toFixed(5)}`);
    assert.ok(one.auc > 0.72, `AUC ${one.auc}`);
    assert.ok(Math.abs(one.auc - two.auc) <= 0.002, `AUC ${one.auc} and ${two.auc}`);
  },
});
