/**
 * TBSM has the loss, the accuracy and the AUC of PyTorch after one epoch of sessions in the same order, at a tenth of the
 * published rate. At the published one, rounding changes them more: docs/paper.md has both.
 */
import assert from "node:assert/strict";
import { slowTest } from "../support/series.ts";
import { missingModule } from "../support/python.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tbsmEpoch } from "./tbsm_epoch.ts";

const MISSING = missingModule("torch");

slowTest(
  `an epoch of TBSM has PyTorch's metrics${MISSING === undefined ? "" : `: skipped, ${MISSING}`}`,
  async () => {
    if (MISSING !== undefined) return;
    using directory = new TemporaryDirectory();
    const sizes = { scale: 200, train: 30_000, test: 3000 };
    const { hotset, pytorch } = await tbsmEpoch(directory, { ...sizes, seed: 1, learningRate: 0.005 });
    const expected = await pytorch(false);
    assert.ok(expected.auc > 0.75, `PyTorch learns: ${expected.auc}`);
    for (const metric of ["logloss", "accuracy", "auc"] as const) {
      const [found, other] = [hotset[metric], expected[metric]];
      assert.ok(Math.abs(found - other) < 1e-3, `${metric} ${found}, not ${other}`);
    }
  },
);
