/**
 * Checksums of the plain TypeScript reference after 30 steps. No other bits are committed, because those of every other
 * backend depend on the processor; `deno task golden COMMIT` compares them before and after a change.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { InteractionKind } from "../../src/backend/backend.ts";
import type { OptimizerName } from "../../src/optimizer/optimizers.ts";
import { openHost } from "../../src/backend/open.ts";
import { localModel, trainOn } from "../support/local_model.ts";
import { GoldenBatches, goldenModel, goldenParameters, LEARNING_RATES, WEIGHT_DECAY } from "./golden_model.ts";

const STEPS = 30;
const BITS: readonly [OptimizerName, InteractionKind, string][] = [
  ["sgd", "dot", "2e2790652ee75dca"],
  ["adagrad", "dot", "0ee6509738454726"],
  ["rwsadagrad", "dot", "70a322a003d8e101"],
  ["adam", "dot", "7715fe917a13c70d"],
  ["adamw", "dot", "6570b13607aa4548"],
  ["sgd", "cat", "0248d018166e7859"],
];

for (const [optimizer, interaction, expected] of BITS) {
  Deno.test(`the reference keeps its bits: ${optimizer}, ${interaction}`, async () => {
    using host = await openHost({ kind: "reference" });
    const batches = new GoldenBatches();
    await using group = localModel(host, { ...goldenModel(optimizer), interaction }, batches.shape);
    const { plan, parameters, full } = group.memory;
    const { dense, rows } = goldenParameters(plan);
    host.upload(dense, parameters);
    host.upload(rows, full.weights);
    for (let step = 0; step < STEPS; step++) {
      trainOn(group, batches.at(step), LEARNING_RATES[optimizer], step + 1, WEIGHT_DECAY[optimizer]);
    }
    const hash = createHash("sha256");
    for (const buffer of [parameters, full.weights]) hash.update(host.floats(buffer));
    assert.equal(hash.digest("hex").slice(0, 16), expected);
  });
}
