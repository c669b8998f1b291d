/**
 * A dataset is profiled for its popular rows ({@linkcode Profile}), and a profile becomes a {@linkcode Layout} of hot and
 * cold batches. Training builds both itself; this entry is for programs that examine them or read batches.
 *
 * @example Profile a dataset, pack it and read its batches
 * ```ts
 * import assert from "node:assert/strict";
 * import { generateDataset } from "@hotset/hotset/dataset";
 * import { Batch, buildLayout, profileDataset } from "@hotset/hotset/layout";
 *
 * const folder = Deno.makeTempDirSync();
 * const fractions = { validation: 0.1, test: 0.1 };
 * const dataset = await generateDataset(`${folder}/clicks`, { samples: 2000, seed: 1, scale: 1000, fractions });
 * const budget = { dim: 16, optimizer: "sgd", hotMemory: 256 * 2 ** 10, seed: 1 } as const;
 * const profile = await profileDataset(dataset, { out: `${folder}/profile`, ...budget });
 * using layout = await buildLayout(dataset, profile, { out: `${folder}/layout`, batchSize: 128 });
 *
 * let samples = 0;
 * for (const kind of ["hot", "cold"] as const) {
 *   for (const { labels, dense, indices, offsets } of layout.iterate(kind)) { // typed arrays
 *     assert.equal(dense.length, labels.length * dataset.denseFeatures);
 *     assert.equal(indices.length, labels.length * dataset.tables); // in a hot batch, ids of layout.hotRows
 *     assert.equal(offsets, undefined); // generated samples have one lookup in each table
 *     samples += labels.length;
 *   }
 * }
 * assert.equal(samples, dataset.samples("train"));
 *
 * const batch = new Batch(layout.shape); // memory that several reads share
 * for (let i = 0; i < layout.batches("cold"); i++) layout.readBatch("cold", i, batch);
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
