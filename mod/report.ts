/**
 * Writes reports as HTML files with charts and without scripts. Only this entry loads Observable Plot.
 *
 * @example Draw the popular rows of a dataset
 * ```ts
 * import assert from "node:assert/strict";
 * import { generateDataset } from "@hotset/hotset/dataset";
 * import { profileDataset } from "@hotset/hotset/layout";
 * import { writeProfileReport } from "@hotset/hotset/report";
 *
 * const folder = Deno.makeTempDirSync();
 * const fractions = { validation: 0.1, test: 0.1 };
 * const dataset = await generateDataset(`${folder}/clicks`, { samples: 2000, seed: 1, scale: 1000, fractions });
 * const budget = { dim: 16, optimizer: "sgd", hotMemory: 256 * 2 ** 10, seed: 1 } as const;
 * const profile = await profileDataset(dataset, { out: `${folder}/profile`, ...budget });
 * await writeProfileReport(profile, dataset, `${folder}/profile.html`);
 * assert.match(Deno.readTextFileSync(`${folder}/profile.html`), /<svg/);
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @example Report of a run
 * ```ts
 * import assert from "node:assert/strict";
 * import { generateDataset } from "@hotset/hotset/dataset";
 * import { writeRunReport } from "@hotset/hotset/report";
 * import { resolveConfig, startRun } from "@hotset/hotset/train";
 *
 * const folder = Deno.makeTempDirSync();
 * const fractions = { validation: 0.1, test: 0.1 };
 * const dataset = await generateDataset(`${folder}/clicks`, { samples: 2000, seed: 1, scale: 1000, fractions });
 * const config = resolveConfig("default", { mode: "cpu", ranks: 1, bottom: [16], top: [16, 1] });
 * await startRun(config, dataset, { out: `${folder}/run`, report: () => {} });
 * await writeRunReport(`${folder}/run`, `${folder}/run.html`);
 * assert.match(Deno.readTextFileSync(`${folder}/run.html`), /<svg/);
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @module
 */
export { writeProfileReport } from "../src/report/html/profile_report.ts";
export { writeRunReport } from "../src/report/html/run_report.ts";
