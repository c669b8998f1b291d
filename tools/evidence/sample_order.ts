/**
 * Effect of the order of samples and of hot and cold batches on accuracy, as tables for docs/accuracy.md.
 *
 *     deno run -A tools/evidence/sample_order.ts turns     hot and cold batches of a log of users and items
 *     deno run -A tools/evidence/sample_order.ts shuffle [FORMAT=FILE ...]   samples shuffled, on that log and on others
 */
import { parseArgs } from "node:util";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { startRun } from "../../src/run/run.ts";
import { ensureDataset } from "../../src/run/stages.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import type { Format } from "../../src/dataset/formats.ts";
import { userItemLog, type UserItemOptions } from "../../tests/support/user_item_log.ts";

const { values: { seeds, positives }, positionals: [series, ...logs] } = parseArgs({
  allowPositionals: true,
  options: { seeds: { type: "string", default: "3" }, positives: { type: "string", default: "200000" } },
});
const folder = Deno.makeTempDirSync({ prefix: "hotset-order-" });
const quiet = () => {};
let runs = 0;

const MODEL: Partial<TrainConfig> = { bottom: [16], top: [64, 32, 1], ranks: 1, save: false, device: "cpu" };

/** Mean and deviation of the test AUC over seeds, and the share of hot samples with the first seed. */
async function auc(datasets: readonly Dataset[], layer: Partial<TrainConfig>): Promise<{ text: string; hot: number }> {
  const found: number[] = [];
  let hot = 0;
  for (const [seed, dataset] of datasets.entries()) {
    const config = resolveConfig("default", MODEL, layer, { seed: seed + 1 });
    const result = await startRun(config, dataset, { out: `${folder}/run-${runs++}`, report: quiet });
    found.push(result.auc);
    if (seed === 0) hot = result.hotSampleShare;
  }
  const mean = found.reduce((sum, value) => sum + value, 0) / found.length;
  const deviation = Math.sqrt(found.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (found.length - 1));
  return { text: `${mean.toFixed(4)} ± ${deviation.toFixed(4)}`, hot };
}

const each = <T>(make: (seed: number) => T): T[] => Array.from({ length: Number(seeds) }, (_, i) => make(i + 1));
const log = (order: UserItemOptions["order"]) =>
  each((seed) => {
    const options = { users: 6000, items: 8000, positives: Number(positives), order, seed };
    return userItemLog(`${folder}/${order}-${seed}`, options);
  });

try {
  if (series === "turns") {
    const datasets = log("random");
    const layer: Partial<TrainConfig> = { batchSize: 1024, epochs: 2 };
    console.log("| mode | hot samples | turns | AUC |\n| --- | ---: | --- | ---: |");
    console.log(`| cpu | | | ${(await auc(datasets, { ...layer, mode: "cpu" })).text} |`);
    for (const hotMemory of [260_000, 900_000]) {
      for (const [firstTurn, turns] of [["hot", "shrinking"], ["hot", "equal"], ["cold", "equal"]] as const) {
        const { text, hot } = await auc(datasets, { ...layer, hotMemory, firstTurn, turns });
        console.log(`| fae | ${(100 * hot).toFixed(0)} % | ${turns}, ${firstTurn} first | ${text} |`);
      }
    }
  } else {
    console.log("| log | epochs | batches shuffled | samples shuffled |\n| --- | ---: | ---: | ---: |");
    const row = async (name: string, datasets: readonly Dataset[], layer: Partial<TrainConfig>) => {
      const cells = [];
      for (const shuffle of ["batches", "samples"] as const) {
        cells.push((await auc(datasets, { ...layer, mode: "cpu", shuffle })).text);
      }
      console.log(`| ${name} | ${layer.epochs} | ${cells.join(" | ")} |`);
    };
    for (const order of ["random", "users"] as const) {
      await row(`users and items, by ${order}`, log(order), { batchSize: 1024, epochs: 2 });
    }
    for (const given of logs) {
      const [format, file] = given.split("=");
      const dataset = await ensureDataset([file], { format: format as Format }, folder, quiet);
      await row(format, each(() => dataset), { batchSize: 128, epochs: 1 });
    }
  }
} finally {
  Deno.removeSync(folder, { recursive: true });
}
