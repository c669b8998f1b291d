/**
 * The cost of shuffling for a layout: samples/s and memory with and without it, alternately.
 *
 *     deno run -A bench/layout_shuffle.ts [SAMPLES]
 */
import { generateDataset } from "../src/dataset/generate.ts";
import { buildLayout } from "../src/layout/build_layout.ts";
import { median } from "./median.ts";

const samples = Number(Deno.args[0] ?? 5_000_000);
const ROUNDS = 3;

const folder = Deno.makeTempDirSync({ prefix: "hotset-layout-" });
try {
  const fractions = { validation: 0, test: 0 };
  const dataset = await generateDataset(`${folder}/clicks`, { samples, seed: 1, scale: 10, fractions });
  const rates: Record<string, number[]> = { log: [], shuffled: [] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const order of ["log", "shuffled"]) {
      const shuffle = order === "log" ? undefined : { seed: round };
      const begin = performance.now();
      (await buildLayout(dataset, undefined, { out: `${folder}/layout`, batchSize: 2048, shuffle }))[Symbol.dispose]();
      rates[order].push(samples / ((performance.now() - begin) / 1000));
    }
  }
  for (const [order, found] of Object.entries(rates)) {
    console.log(`${order}: ${Math.round(median(found))} samples/s (${found.map(Math.round).join(", ")})`);
  }
  console.log(`resident memory ${Math.round(Deno.memoryUsage().rss / 2 ** 20)} MiB`);
} finally {
  Deno.removeSync(folder, { recursive: true });
}
