import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ensureDataset, resolveConfig, startRun } from "../../mod.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const FOLDER = fileURLToPath(new URL("../../../shared/data/criteo_kaggle/", import.meta.url));
const part = (n: number) => `${FOLDER}train137k_part${n}.tsv.gz`;
const missing = !existsSync(part(0));
Deno.test({
  name: `real clicks: accuracy, and the same in modes cpu and fae${missing ? ` (skipped: no ${FOLDER})` : ""}`,
  ignore: missing,
  async fn() {
    using directory = new TemporaryDirectory();
    const raw = {
      format: "criteo",
      testInputs: [part(2)],
      minFrequency: 2,
      validationFraction: 0.02,
      testFraction: 0,
    } as const;
    const report = () => {};
    const dataset = await ensureDataset([part(0), part(1)], raw, directory.path, report);
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
