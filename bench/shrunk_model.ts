/**
 * Models in the shapes of published data with smaller tables, so that they build quickly and fit several simulated
 * hosts.
 */
import type { Dataset } from "../src/dataset/dataset.ts";
import { generateDataset } from "../src/dataset/generate.ts";
import type { Shape } from "../src/dataset/published.ts";
import { type ModelPlan, planModel } from "../src/model/shape.ts";
import { type Preset, PRESETS } from "../src/config/config.ts";
import { buildLayout } from "../src/layout/build_layout.ts";
import type { Layout } from "../src/layout/layout.ts";
import { profileDataset } from "../src/profile/profile_dataset.ts";

/** A preset, the divisor of its tables, and the bytes of its hot rows. */
export interface Shrunk {
  readonly preset: Preset & Shape;
  readonly scale: number;
  readonly hotMemory: number;
}

/** Models of the benchmarks over several hosts. */
export const SHRUNK: readonly Shrunk[] = [
  { preset: "kaggle", scale: 10, hotMemory: 16 * 2 ** 20 },
  { preset: "terabyte", scale: 25, hotMemory: 32 * 2 ** 20 },
];

/** A shrunk model over generated samples. */
export interface ShrunkModel {
  readonly plan: ModelPlan;
  readonly tableRows: number[];
  /** Builds a layout with this many bytes of hot rows, or without any. */
  layoutOf(batchSize: number, hotBytes: number | undefined): Promise<Layout>;
}

/** The plan of a preset over tables with these rows. */
export function shrunkPlan(preset: Preset, tableRows: number[], denseFeatures: number): ModelPlan {
  const { dim, bottom, top } = PRESETS[preset];
  return planModel({
    ...{ dim, tableRows, bottom: [denseFeatures, ...bottom], top },
    ...{ interaction: "dot", optimizer: "sgd" },
  });
}

/** Generates samples in `folder`, where layouts are built too. */
export async function shrunkModel(
  folder: string,
  { preset, scale }: Shrunk,
  samples: number,
): Promise<ShrunkModel> {
  const fractions = { validation: 0, test: 0 };
  const options = { shape: preset, samples, seed: 1, scale, drift: 0, fractions } as const;
  return modelOver(folder, await generateDataset(`${folder}/data`, options), preset);
}

/** The model of a preset over a dataset; layouts are built in `folder`. */
export function modelOver(folder: string, dataset: Dataset, preset: Preset): ShrunkModel {
  const tableRows = dataset.body.tables.map(({ rows }) => rows);
  const plan = shrunkPlan(preset, tableRows, dataset.denseFeatures);
  const { dim, optimizer } = plan.shape;
  return {
    plan,
    tableRows,
    async layoutOf(batchSize, hotBytes) {
      const name = `${batchSize}-${hotBytes}`;
      const profile = hotBytes === undefined ? undefined : await profileDataset(dataset, {
        ...{ out: `${folder}/profile-${name}`, dim, optimizer, sampleRate: undefined, seed: 1, hotMemory: hotBytes },
      });
      return await buildLayout(dataset, profile, { out: `${folder}/layout-${name}`, batchSize });
    },
  };
}
