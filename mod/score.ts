/**
 * Uses a trained run: metrics on its splits or on new rows, and click probabilities of new rows.
 *
 * @example The area under the ROC curve
 * ```ts
 * import assert from "node:assert/strict";
 * import { auc } from "@hotset/hotset/score";
 *
 * assert.equal(auc(Float32Array.of(0.1, 0.4, 0.3, 0.8), Uint8Array.of(0, 0, 1, 1)), 0.75);
 * ```
 *
 * @example Evaluate a run on its own splits, and score rows of a file
 * ```ts
 * import assert from "node:assert/strict";
 * import { prepareDataset, writeCriteoLog } from "@hotset/hotset/dataset";
 * import { evaluateRun, predictRun } from "@hotset/hotset/score";
 * import { resolveConfig, startRun } from "@hotset/hotset/train";
 *
 * const folder = Deno.makeTempDirSync();
 * const log = `${folder}/clicks.tsv`;
 * writeCriteoLog(log, { samples: 2000, seed: 1, scale: 1000, fractions: { validation: 0.1, test: 0.1 } });
 * const dataset = await prepareDataset({ inputs: [log], format: "criteo", out: `${folder}/clicks` });
 * const config = resolveConfig("default", { mode: "cpu", ranks: 1, bottom: [16], top: [16, 1] });
 * const report = () => {};
 * await startRun(config, dataset, { out: `${folder}/run`, report });
 *
 * const [validation] = await evaluateRun(`${folder}/run`, [], report);
 * assert(validation.auc > 0.4);
 * const probabilities = await predictRun(`${folder}/run`, [log], {}, report);
 * assert.equal(probabilities.length, 2000);
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @module
 */
export {
  type EvaluateOptions,
  evaluateRun,
  type PredictOptions,
  predictRun,
  type ScoreFormat,
  writeScores,
} from "../src/run/score_run.ts";
export type { UnknownLimit } from "../src/events/unknown_notes.ts";
export { auc, type Metrics, metricsOf } from "../src/events/metrics.ts";
