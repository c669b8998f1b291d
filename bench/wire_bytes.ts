/**
 * Bytes that hosts send in a step: with hot rows replicated, with all rows replicated and with all rows sharded, in the
 * shapes of published data. Prints the table of docs/cluster.md; needs no second host.
 */
import { generateDataset, type Optimizer, planModel, type Preset, PRESETS } from "../mod.ts";
import { Batch } from "../src/layout/batch.ts";
import { buildLayout } from "../src/layout/build_layout.ts";
import { BATCH_KINDS } from "../src/layout/layout.ts";
import { wireBytes } from "../src/plan/wire_bytes.ts";
import { profileDataset } from "../src/profile/profile_dataset.ts";

const SAMPLES = 400_000;
const HOSTS = [2, 4, 16];
const OPTIMIZER: Optimizer = "sgd";
const SETTINGS = [
  { preset: "kaggle", batchSize: 8192, scale: 10, hotMemory: 16 * 2 ** 20 },
  { preset: "terabyte", batchSize: 8192, scale: 100, hotMemory: 32 * 2 ** 20 },
] as const satisfies readonly { preset: Preset; batchSize: number; scale: number; hotMemory: number }[];

console.log("| shape | hosts | hot samples | hot rows replicated | all replicated | all sharded |\n|-|-|-|-|-|-|");
for (const { preset, batchSize, scale, hotMemory } of SETTINGS) {
  const folder = Deno.makeTempDirSync();
  const { dim, bottom, top } = PRESETS[preset];
  const fractions = { validation: 0, test: 0 };
  const dataset = generateDataset(`${folder}/data`, {
    shape: preset,
    samples: SAMPLES,
    seed: 1,
    scale,
    drift: 0,
    fractions,
  });
  const tableRows = dataset.body.tables.map(({ rows }) => rows);
  const plan = planModel({
    dim,
    tableRows,
    bottom: [dataset.denseFeatures, ...bottom],
    top,
    interaction: "dot",
    optimizer: OPTIMIZER,
  });
  const means = (hotBytes: number | undefined) => {
    const out = `${folder}/profile-${hotBytes}`;
    const options = { out, dim, optimizer: OPTIMIZER, sampleRate: undefined, seed: 1 };
    const profile = hotBytes === undefined ? undefined : profileDataset(dataset, { ...options, hotMemory: hotBytes });
    using layout = buildLayout(dataset, profile, { out: `${folder}/layout-${hotBytes}`, batchSize });
    const batch = new Batch(layout.shape);
    const bytes = new Float64Array(HOSTS.length);
    for (const kind of BATCH_KINDS) {
      for (let i = 0; i < layout.batches(kind); i++) {
        layout.readBatch(kind, i, batch);
        HOSTS.forEach((hosts, h) => {
          const { rows, gradients } = wireBytes(batch, plan, hosts);
          bytes[h] += rows + gradients;
        });
      }
    }
    const steps = layout.batches("hot") + layout.batches("cold");
    return { mib: [...bytes].map((total) => (total / steps / 2 ** 20).toFixed(1)), share: layout.body.hotSampleShare };
  };
  const [hot, replicated, sharded] = [means(hotMemory), means(2 ** 40), means(undefined)];
  HOSTS.forEach((hosts, h) => {
    const share = `${(100 * hot.share).toFixed(0)} %`;
    console.log(
      `| ${preset}, dim ${dim} | ${hosts} | ${share} | ${hot.mib[h]} | ${replicated.mib[h]} | ${sharded.mib[h]} |`,
    );
  });
  Deno.removeSync(folder, { recursive: true });
}
