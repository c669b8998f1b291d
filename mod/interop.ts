/**
 * Models in formats of other projects: exports a run's best model as safetensors or ONNX, and imports a
 * facebookresearch/dlrm model in safetensors as a run. docs/interop.md describes the files.
 *
 * @example Export a run as ONNX, and as safetensors, which become a run again
 * ```ts
 * import assert from "node:assert/strict";
 * import { generateDataset } from "@hotset/hotset/dataset";
 * import { exportRun, importRun } from "@hotset/hotset/interop";
 * import { resolveConfig, startRun } from "@hotset/hotset/train";
 *
 * const folder = Deno.makeTempDirSync();
 * const fractions = { validation: 0.1, test: 0.1 };
 * const dataset = await generateDataset(`${folder}/clicks`, { samples: 2000, seed: 1, scale: 1000, fractions });
 * const config = resolveConfig("default", { mode: "cpu", ranks: 1, bottom: [16], top: [16, 1] });
 * const report = () => {};
 * await startRun(config, dataset, { out: `${folder}/run`, report });
 *
 * const [model, weights] = await exportRun(`${folder}/run`, "onnx", `${folder}/clicks.onnx`, report);
 * assert.equal(model, `${folder}/clicks.onnx`);
 * assert.equal(weights, `${folder}/clicks.onnx.data`);
 *
 * const [tensors] = await exportRun(`${folder}/run`, "safetensors", `${folder}/clicks.safetensors`, report);
 * await importRun(tensors, { data: dataset.directory, out: `${folder}/imported`, config }, report);
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @module
 */
export { EXPORT_FORMATS, type ExportFormat, exportRun } from "../src/interop/export_run.ts";
export { type ImportOptions, importRun, ROW_NUMBERS } from "../src/interop/import_run.ts";
