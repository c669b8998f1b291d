/**
 * Fits the popularity curves of Avazu's 21 tables and prints `src/dataset/avazu_shape.ts`. Needs the counts of all values
 * that are seen 50 times or more (Field,Value,Neg,Pos,Total,Ratio):
 *
 *     deno run -A tools/fit_avazu.ts COUNTS.csv.gz > src/dataset/avazu_shape.ts
 */
import { gunzipSync } from "node:zlib";
import { RANKS } from "../src/dataset/table_shape.ts";

/** Samples in the log. */
const SAMPLES = 40_428_967;
/** Distinct values of each table over all samples, as commonly published; the counts contain only the frequent ones. */
const ROWS: Record<string, number> = {
  C1: 7,
  banner_pos: 7,
  site_id: 4737,
  site_domain: 7745,
  site_category: 26,
  app_id: 8552,
  app_domain: 559,
  app_category: 36,
  device_id: 2_686_408,
  device_ip: 6_729_486,
  device_model: 8251,
  device_type: 5,
  device_conn_type: 4,
  C14: 2626,
  C15: 8,
  C16: 9,
  C17: 435,
  C18: 4,
  C19: 68,
  C20: 172,
  C21: 60,
};

const counts = new Map<string, number[]>();
let clicks = 0, shown = 0;
for (const line of new TextDecoder().decode(gunzipSync(Deno.readFileSync(Deno.args[0]))).trim().split("\n").slice(1)) {
  const [field, , , positive, total] = line.split(",");
  if (!counts.has(field)) counts.set(field, []);
  counts.get(field)!.push(Number(total));
  if (field !== "C1") continue;
  clicks += Number(positive);
  shown += Number(total);
}
const tables = Object.entries(ROWS).map(([name, rows]) => {
  const sorted = counts.get(name)!.sort((a, b) => b - a);
  const shares: number[] = [];
  for (const rank of RANKS) {
    // Omits the last points: they include values that occur fewer than 50 times.
    if (rank > sorted.length || rank >= rows) break;
    shares.push(Number((sorted.slice(0, rank).reduce((sum, n) => sum + n, 0) / SAMPLES).toFixed(4)));
  }
  while (shares.at(-1)! >= 1) shares.pop();
  return `  { name: "${name}", rows: ${rows}, shares: [${shares.join(", ")}] },`;
});
console.log(`/**
 * The shape of Avazu, measured: rows and popularity of its 21 tables and its click rate. Made by tools/fit_avazu.ts from
 * the counts of all values seen 50 times or more. Figures only; no value of the data set is here.
 */
import type { NamedShape } from "./table_shape.ts";

/** C1 to C21 in the order of format avazu. */
// deno-fmt-ignore
export const AVAZU_TABLES: readonly NamedShape[] = [
${tables.join("\n")}
];

/** Share of clicks. */
export const AVAZU_CLICK_RATE = ${(clicks / shown).toFixed(4)};`);
