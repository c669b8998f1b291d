/**
 * Reports as one HTML file each, with charts and without scripts. This entry loads Observable Plot; no other does.
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
 * const dataset = generateDataset(`${folder}/clicks`, { samples: 2000, seed: 1, scale: 1000, fractions });
 * const budget = { dim: 16, optimizer: "sgd", hotMemory: 256 * 2 ** 10, seed: 1 } as const;
 * const profile = profileDataset(dataset, { out: `${folder}/profile`, ...budget });
 * writeProfileReport(profile, dataset, `${folder}/profile.html`);
 * assert.match(Deno.readTextFileSync(`${folder}/profile.html`), /<svg/);
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @module
 */
export { writeProfileReport } from "../src/report/html/profile_report.ts";
export { writeRunReport } from "../src/report/html/run_report.ts";
