/**
 * TBSM has the loss, the accuracy and the AUC of PyTorch after one epoch of sessions in the same order: at a tenth of the
 * published rate to .001, and at the published one to what PyTorch in double precision differs too (docs/paper.md).
 */
import assert from "node:assert/strict";
import { slowTest } from "../support/series.ts";
import { missingModule } from "../support/python.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tbsmEpoch } from "./tbsm_epoch.ts";

const MISSING = missingModule("torch");

for (const [learningRate, tolerance] of [[0.005, 1e-3], [0.05, 1e-2]]) {
  slowTest(
    `an epoch of TBSM at rate ${learningRate} has PyTorch's metrics${
      MISSING === undefined ? "" : `: skipped, ${MISSING}`
    }`,
    async () => {
      if (MISSING !== undefined) return;
      using directory = new TemporaryDirectory();
      const sizes = { scale: 200, train: 30_000, test: 3000 };
      const { hotset, pytorch } = await tbsmEpoch(directory, { ...sizes, seed: 1, learningRate });
      const expected = await pytorch(false);
      assert.ok(expected.auc > 0.75, `PyTorch learns: ${expected.auc}`);
      for (const metric of ["logloss", "accuracy", "auc"] as const) {
        const [found, other] = [hotset[metric], expected[metric]];
        assert.ok(Math.abs(found - other) < tolerance, `${metric} ${found}, not ${other}`);
      }
    },
  );
}
