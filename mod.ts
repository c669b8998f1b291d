/**
 * Hotset trains recommendation models (DLRM). It keeps popular embedding rows on the device that computes.
 *
 * Each subject has an entry of its own. This one exports what all of them share: the errors that they throw.
 *
 * | entry                      | what for                                                                             |
 * | -------------------------- | ------------------------------------------------------------------------------------ |
 * | `@hotset/hotset/dataset`   | prepare raw logs, infer schemas, generate data, read samples                         |
 * | `@hotset/hotset/train`     | configure, train, resume, reproduce; events; optimizers; processes of MPI            |
 * | `@hotset/hotset/score`     | evaluate a run, score new rows; AUC and other metrics                                |
 * | `@hotset/hotset/interop`   | export to ONNX and safetensors, import from safetensors                              |
 * | `@hotset/hotset/plan`      | what training needs and a budget covers, without training; what the machine offers   |
 * | `@hotset/hotset/report`    | HTML reports of runs and profiles                                                    |
 * | `@hotset/hotset/layout`    | profiles of popular rows; hot and cold batches                                       |
 * | `@hotset/hotset/cuda`      | CUDA devices, buffers and PTX kernels, also without a GPU                            |
 * | `@hotset/hotset/blas`      | OpenBLAS                                                                             |
 *
 * Before 1.0 a minor version may change any of these, and CHANGELOG.md says what changed. Of `layout`, `cuda` and `blas`
 * expect changes; the others change only where they must. What no entry exports may change at any time.
 *
 * @example Train on generated data
 * ```ts
 * import assert from "node:assert/strict";
 * import { codeOf, HotsetError } from "@hotset/hotset";
 * import { generateDataset } from "@hotset/hotset/dataset";
 * import { evaluateRun } from "@hotset/hotset/score";
 * import { resolveConfig, startRun } from "@hotset/hotset/train";
 *
 * const folder = Deno.makeTempDirSync();
 * const fractions = { validation: 0.1, test: 0.1 };
 * const dataset = await generateDataset(`${folder}/clicks`, { samples: 4000, seed: 1, scale: 1000, fractions });
 * const config = resolveConfig("default", { mode: "cpu", ranks: 1, bottom: [32, 16], top: [32, 1] });
 * const result = await startRun(config, dataset, { out: `${folder}/run`, report: () => {} });
 * assert(result.logloss < 0.7);
 *
 * const evaluation = evaluateRun(`${folder}/no-run`, [], () => {});
 * await assert.rejects(evaluation, (error) => error instanceof HotsetError && codeOf(error) === "not-found");
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @module
 */
export {
  codeOf,
  ERROR_CODES,
  type ErrorCode,
  HotsetError,
  type HotsetErrorOptions,
  Interrupted,
  UsageError,
} from "./src/errors.ts";
