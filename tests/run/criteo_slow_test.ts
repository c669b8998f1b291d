import assert from "node:assert/strict";
import { resolveConfig } from "../../src/config/config.ts";
import { startRun } from "../../src/run/run.ts";
import { ensureDataset } from "../../src/run/stages.ts";
import { CRITEO_RAW, criteoLog, criteoRowsAbsent } from "../support/criteo_rows.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const skipped = criteoRowsAbsent === undefined ? "" : ` (skipped: ${criteoRowsAbsent})`;

Deno.test({
  name: `real clicks: accuracy, and the same in modes cpu and fae${skipped}`,
  ignore: skipped !== "",
  async fn() {
    using directory = new TemporaryDirectory();
    const report = () => {};
    const dataset = await ensureDataset([criteoLog(0), criteoLog(1)], CRITEO_RAW, directory.path, report);
    const mean = { cpu: 0, fae: 0 };
    for (const mode of ["cpu", "fae"] as const) {
      for (const seed of [1, 2, 3]) {
        const config = resolveConfig("kaggle", {
          mode,
          seed,
          device: "cpu",
          optimizer: "adagrad",
          learningRate: 0.01,
          save: false,
        });
        const { auc, logloss } = await startRun(config, dataset, { out: directory.join(`${mode}-${seed}`), report });
        assert.ok(auc >= 0.76, `${mode} seed ${seed}: AUC ${auc}`);
        assert.ok(logloss <= 0.49, `${mode} seed ${seed}: logloss ${logloss}`);
        mean[mode] += auc / 3;
      }
    }
    console.log(`mean AUC of three seeds: cpu ${mean.cpu.toFixed(4)}, fae ${mean.fae.toFixed(4)}`);
    assert.ok(Math.abs(mean.cpu - mean.fae) <= 0.002, JSON.stringify(mean));
  },
});
