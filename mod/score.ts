/**
 * Scores with a trained run: metrics on its splits or on new rows, and click probabilities of new rows.
 *
 * @example The area under the ROC curve, and other metrics
 * ```ts
 * import assert from "node:assert/strict";
 * import { auc, metricsOf } from "@hotset/hotset/score";
 *
 * const labels = Uint8Array.of(0, 0, 1, 1);
 * assert.equal(auc(Float32Array.of(0.1, 0.4, 0.3, 0.8), labels), 0.75);
 * const { accuracy, logloss } = metricsOf(Float32Array.of(-1, -2, 1, 2), labels); // logits
 * assert.equal(accuracy, 1);
 * assert(logloss < 0.25);
 * ```
 *
 * @example Evaluate a run on its own splits, pack it into a file, and score rows of a log
 * ```ts
 * import assert from "node:assert/strict";
 * import { prepareDataset, writeCriteoLog } from "@hotset/hotset/dataset";
 * import { evaluateRun, keepColumns, packRun, predictRun, writeScores } from "@hotset/hotset/score";
 * import { resolveConfig, startRun } from "@hotset/hotset/train";
 *
 * const folder = Deno.makeTempDirSync();
 * const log = `${folder}/clicks.tsv`;
 * await writeCriteoLog(log, { samples: 2000, seed: 1, scale: 1000, fractions: { validation: 0.1, test: 0.1 } });
 * const dataset = await prepareDataset({ inputs: [log], format: "criteo", out: `${folder}/clicks` });
 * const config = resolveConfig("default", { mode: "cpu", ranks: 1, bottom: [16], top: [16, 1] });
 * const report = () => {};
 * await startRun(config, dataset, { out: `${folder}/run`, report });
 *
 * const [validation] = await evaluateRun(`${folder}/run`, [], report);
 * assert(validation.auc > 0.4);
 * await packRun(`${folder}/run`, `${folder}/model.hotset`, report);
 * const probabilities = await predictRun(`${folder}/model.hotset`, [log], {}, report);
 * assert.equal(probabilities.length, 2000);
 * const kept = await keepColumns(`${folder}/model.hotset`, [log], ["C1"]);
 * await writeScores(probabilities, `${folder}/scores.csv`, "csv", kept); // columns: row, probability, C1
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @example Score rows in memory, one or a few at a time
 * ```ts
 * import assert from "node:assert/strict";
 * import { prepareDataset } from "@hotset/hotset/dataset";
 * import { openModel } from "@hotset/hotset/score";
 * import { resolveConfig, startRun } from "@hotset/hotset/train";
 *
 * const folder = Deno.makeTempDirSync();
 * const columns = [{ name: "clicked", kind: "label" }, { name: "price", kind: "dense" }, { name: "tags", kind: "bag" }];
 * Deno.writeTextFileSync(`${folder}/schema.json`, JSON.stringify({ columns }));
 * const lines = Array.from({ length: 200 }, (_, i) => `${i % 2},${i},${i % 2 === 0 ? "a|b" : "c"}`);
 * Deno.writeTextFileSync(`${folder}/clicks.csv`, `clicked,price,tags\n${lines.join("\n")}\n`);
 * const dataset = await prepareDataset({
 *   ...{ inputs: [`${folder}/clicks.csv`], format: "csv", schema: `${folder}/schema.json`, out: `${folder}/clicks` },
 * });
 * const config = resolveConfig("default", { mode: "cpu", ranks: 1, bottom: [16], top: [16, 1], batchSize: 16 });
 * await startRun(config, dataset, { out: `${folder}/run`, report: () => {} });
 *
 * using model = await openModel(`${folder}/run`);
 * const [a, b] = model.score([{ price: 28, tags: ["a", "b"] }, { price: "28", tags: null }]);
 * assert(a > 0 && a < 1 && b > 0 && b < 1);
 * assert.throws(() => model.score([{ price: "a lot", tags: [] }]), /row 0 \(from 0\): price is "a lot"/);
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @module
 */
export {
  type EvaluateOptions,
  evaluateRun,
  keepColumns,
  type PredictOptions,
  predictRun,
  type ScoreFormat,
  writeScores,
} from "../src/run/score_run.ts";
export { packRun } from "../src/run/packed_run.ts";
export type { UnknownLimit } from "../src/events/unknown_notes.ts";
export { auc, type GroupMetrics, type Metrics, metricsOf } from "../src/events/metrics.ts";
export { type ModelFacts, openModel, type OpenModelOptions, ScoringModel } from "../src/serving/scoring_model.ts";
export type { EncodedRows, Row } from "../src/dataset/row_encoder.ts";
export type { RowValue, SingleValue } from "../src/dataset/single_value.ts";
export type { KeptColumns } from "../src/dataset/kept_columns.ts";
