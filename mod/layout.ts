/**
 * A dataset is profiled for its popular rows ({@linkcode Profile}), and a profile becomes a {@linkcode Layout} of hot and
 * cold batches. Training builds both itself; this entry is for programs that examine them or read batches.
 *
 * @example Profile a dataset, pack it and read a batch
 * ```ts
 * import assert from "node:assert/strict";
 * import { generateDataset } from "@hotset/hotset/dataset";
 * import { Batch, buildLayout, profileDataset } from "@hotset/hotset/layout";
 *
 * const folder = Deno.makeTempDirSync();
 * const fractions = { validation: 0.1, test: 0.1 };
 * const dataset = generateDataset(`${folder}/clicks`, { samples: 2000, seed: 1, scale: 1000, fractions });
 * const budget = { dim: 16, optimizer: "sgd", hotMemory: 256 * 2 ** 10, seed: 1 } as const;
 * const profile = profileDataset(dataset, { out: `${folder}/profile`, ...budget });
 * using layout = buildLayout(dataset, profile, { out: `${folder}/layout`, batchSize: 128 });
 *
 * const batch = new Batch(layout.shape);
 * const kind = layout.batches("hot") > 0 ? "hot" : "cold";
 * layout.readBatch(kind, 0, batch);
 * const labels = batch.floats.subarray(batch.sections.labels, batch.sections.labels + batch.samples);
 * assert(labels.every((label) => label === 0 || label === 1));
 * Deno.removeSync(folder, { recursive: true });
 * ```
 *
 * @module
 */
export { Profile, type ProfileBody, type ProfiledTable } from "../src/profile/profile.ts";
export type { Interval } from "../src/profile/estimate.ts";
export { profileDataset, type ProfileOptions } from "../src/profile/profile_dataset.ts";
export { type BatchKind, Layout, type LayoutBody } from "../src/layout/layout.ts";
export { buildLayout, type LayoutOptions } from "../src/layout/build_layout.ts";
export type { ShuffleOptions } from "../src/layout/sample_shuffle.ts";
export { Batch, type BatchSections, type BatchShape } from "../src/layout/batch.ts";
