/**
 * Prepares every log in a folder of real data and prints the table of docs/datasets.md: rows, tables, and the coverage
 * of the 1, 5 and 10 % most frequent rows of all tables together.
 *
 *     deno run -A tools/measure_logs.ts ../shared/data
 */
import { join } from "node:path";
import type { Dataset } from "../src/dataset/dataset.ts";
import type { Format } from "../src/dataset/formats.ts";
import { inferSchema } from "../src/dataset/infer.ts";
import { prepareDataset } from "../src/dataset/prepare.ts";
import { HotMap } from "../src/layout/hot_map.ts";
import { HotRule } from "../src/profile/hot_rule.ts";
import { RowCounts } from "../src/profile/tally.ts";

const LOGS: [name: string, format: Format, files: string[]][] = [
  ["Criteo Kaggle, 102,542 rows over 5 days", "criteo", ["criteo_kaggle/train137k_part*.tsv.gz"]],
  ["Criteo Kaggle, first 15,000 rows", "criteo", [
    "criteo_kaggle/head10k_contiguous.tsv.gz",
    "criteo_kaggle/rows10k_to_15k_contiguous.tsv.gz",
  ]],
  ["Criteo Kaggle, 20,000 rows as ranks", "csv", ["criteo_kaggle/global_rank10k_c0*.csv.gz"]],
  ["Criteo Terabyte, first 1,000 rows", "criteo", ["criteo_terabyte/day0_head1000.tsv"]],
  ["Avazu, first 9,999 rows", "avazu", ["avazu/head9999.csv.gz"]],
  ["Taobao UserBehavior, 84,475 rows", "taobao", ["taobao/UserBehavior_84k.csv.gz"]],
  ["MovieLens 100K", "movielens", ["movielens/ml100k_u.data.gz"]],
];
const BUDGETS = [0.01, 0.05, 0.1];
const RUN_SAMPLES = 4096;

/** Shares of the lookups and of the samples that the most popular rows cover. */
async function coverage(dataset: Dataset, budget: number): Promise<{ lookups: number; samples: number }> {
  const rows = await RowCounts.of(await dataset.readCounts(), dataset.firstRows);
  const rule = new HotRule(rows, dataset.body.tables.map(() => 1), Math.floor(budget * dataset.rows));
  const map = new HotMap(dataset.firstRows, await rule.select());
  using reader = dataset.reader("train", RUN_SAMPLES);
  let samples = 0;
  for (let first = 0; first < reader.samples; first += RUN_SAMPLES) {
    const lookups = reader.readLookups(first, Math.min(RUN_SAMPLES, reader.samples - first));
    for (let i = 0; i < lookups.count; i++) if (map.allHot(lookups, i)) samples++;
  }
  const lookups = rule.measure().lookups / dataset.body.splits.train.lookups;
  return { lookups, samples: samples / reader.samples };
}

const [folder] = Deno.args;
if (folder === undefined) throw new Error("name the folder of the logs");
const temporary = Deno.makeTempDirSync({ prefix: "hotset-logs-" });
console.log("| log | samples | clicks | tables | rows | 1 % | 5 % | 10 % |");
console.log("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
for (const [name, format, files] of LOGS) {
  const inputs = files.map((file) => join(folder, file));
  const schema = join(temporary, "schema.json");
  if (format === "csv") {
    const [first] = [...Deno.readDirSync(join(folder, "criteo_kaggle"))].map((f) => f.name).sort();
    Deno.writeTextFileSync(schema, JSON.stringify(await inferSchema(join(folder, "criteo_kaggle", first))));
  }
  const dataset = await prepareDataset({
    inputs,
    format,
    ...(format === "csv" ? { schema } : {}),
    out: join(temporary, "out"),
    validationFraction: 0,
    testFraction: 0,
  });
  using reader = dataset.reader("train", dataset.samples("train"));
  const clicks = reader.read(0, reader.samples).labels.reduce((sum, label) => sum + label, 0) / reader.samples;
  const shares = (await Promise.all(BUDGETS.map((budget) => coverage(dataset, budget))))
    .map(({ lookups, samples }) => `${lookups.toFixed(3)} / ${samples.toFixed(3)}`);
  const count = (n: number) => n.toLocaleString("en");
  console.log(
    `| ${name} | ${count(reader.samples)} | ${clicks.toFixed(3)} | ${dataset.tables} | ${count(dataset.rows)} | ` +
      `${shares.join(" | ")} |`,
  );
}
Deno.removeSync(temporary, { recursive: true });
