/**
 * Bytes that hosts send in a step: with hot rows replicated, with all rows replicated and with all rows sharded, in the
 * shapes of published data. Prints the table of docs/cluster.md; needs no second host.
 */
import { Batch } from "../src/layout/batch.ts";
import { BATCH_KINDS } from "../src/layout/layout.ts";
import { wireBytes } from "./step_bytes.ts";
import { SHRUNK, shrunkModel } from "./shrunk_model.ts";

const SAMPLES = 400_000;
const BATCH_SIZE = 8192;
const HOSTS = [2, 4, 16];

console.log("| shape | hosts | hot samples | hot rows replicated | all replicated | all sharded |\n|-|-|-|-|-|-|");
for (const shrunk of SHRUNK) {
  const { preset, hotMemory } = shrunk;
  const folder = Deno.makeTempDirSync();
  const { plan, layoutOf } = await shrunkModel(folder, shrunk, SAMPLES);
  const { dim } = plan.shape;
  const means = async (hotBytes: number | undefined) => {
    using layout = await layoutOf(BATCH_SIZE, hotBytes);
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
  const [hot, replicated, sharded] = [await means(hotMemory), await means(2 ** 40), await means(undefined)];
  HOSTS.forEach((hosts, h) => {
    const share = `${(100 * hot.share).toFixed(0)} %`;
    console.log(
      `| ${preset}, dim ${dim} | ${hosts} | ${share} | ${hot.mib[h]} | ${replicated.mib[h]} | ${sharded.mib[h]} |`,
    );
  });
  Deno.removeSync(folder, { recursive: true });
}
