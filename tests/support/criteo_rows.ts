/** Real Criteo rows as plain arrays, from ../shared/data beside the project (absent on most machines). */
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { Random } from "../../src/random.ts";
import { onlyInAll } from "./series.ts";
import type { PlainDataset, PlainSplit } from "./tiny_dataset.ts";

const DIRECTORY = new URL("../../../shared/data/criteo_kaggle/", import.meta.url);
const DENSE = 13, TABLES = 26;

/** Why tests with real rows cannot run here; undefined if they can. */
export const criteoRowsAbsent: string | undefined = isFile(new URL("train137k_part0.tsv.gz", DIRECTORY))
  ? onlyInAll
  : "../shared/data/criteo_kaggle is not there";

/** Options of preparing these logs; part 2 is for the test split. */
export const CRITEO_RAW = {
  format: "criteo",
  testInputs: [criteoLog(2)],
  minFrequency: 2,
  validationFraction: 0.02,
  testFraction: 0,
} as const;

/** Path of the log of one part (0, 1, 2). */
export function criteoLog(part: number): string {
  return fileURLToPath(new URL(`train137k_part${part}.tsv.gz`, DIRECTORY));
}

/** Train rows of some parts (0, 1, 2), with an id for every value of a column: by descending frequency, or shuffled. */
export function criteoRows(parts: number[], order: "frequency" | "shuffled"): PlainDataset {
  const lines = parts.flatMap((part) => {
    const file = Deno.readFileSync(criteoLog(part));
    return new TextDecoder().decode(gunzipSync(file)).trimEnd().split("\n");
  });
  const train: PlainSplit = {
    labels: new Uint8Array(lines.length),
    dense: new Float32Array(lines.length * DENSE),
    ids: new Uint32Array(lines.length * TABLES),
  };
  const values = Array.from({ length: TABLES }, () => new Map<string, { id: number; count: number }>());
  lines.forEach((line, i) => {
    const fields = line.split("\t");
    train.labels[i] = Number(fields[0]);
    for (let d = 0; d < DENSE; d++) train.dense[i * DENSE + d] = Math.log(Math.max(Number(fields[1 + d]), 0) + 1);
    for (let t = 0; t < TABLES; t++) {
      const field = fields[1 + DENSE + t];
      const value = values[t].get(field) ?? { id: values[t].size, count: 0 };
      value.count++;
      values[t].set(field, value);
      train.ids[i * TABLES + t] = value.id;
    }
  });
  const newIds = values.map((column, t) => {
    const found = [...column.values()].sort((a, b) => b.count - a.count);
    const newId = Uint32Array.from(found, (_, rank) => rank);
    if (order === "shuffled") new Random(t).shuffle(newId);
    const ids = new Uint32Array(found.length);
    found.forEach(({ id }, rank) => ids[id] = newId[rank]);
    return ids;
  });
  for (let k = 0; k < train.ids.length; k++) train.ids[k] = newIds[k % TABLES][train.ids[k]];
  return { tableRows: newIds.map((ids) => ids.length), denseFeatures: DENSE, splits: { train } };
}

function isFile(path: URL): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
