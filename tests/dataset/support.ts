/** Small raw logs in temporary directories, and calls in processes of their own. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import type { Dataset, Split } from "../../src/dataset/dataset.ts";

/** A directory that is removed when disposed. */
export class TemporaryDirectory implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "hotset-test-" });

  /** Writes a file and returns its path. */
  write(name: string, content: string | Uint8Array): string {
    const path = join(this.path, name);
    if (typeof content === "string") Deno.writeTextFileSync(path, content);
    else Deno.writeFileSync(path, content);
    return path;
  }

  join(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** A line of the Criteo format: `dense` fills I1.., `sparse` fills C1..; the rest is empty. */
export function criteoLine(label: string | undefined, dense: string[], sparse: string[]): string {
  const pad = (values: string[], length: number) => Array.from({ length }, (_, i) => values[i] ?? "");
  return [...(label === undefined ? [] : [label]), ...pad(dense, 13), ...pad(sparse, 26)].join("\t") + "\n";
}

/** Ids in the tables (not global rows) of all samples of a split: (samples)(tables)(lookups of the bag). */
export function idsOf(dataset: Dataset, split: Split): number[][][] {
  const samples = dataset.samples(split);
  using reader = dataset.reader(split, Math.max(samples, 1));
  if (samples === 0) return [];
  const { indices, offsets } = reader.read(0, samples);
  return Array.from({ length: samples }, (_, s) =>
    Array.from({ length: dataset.tables }, (_, t) => {
      const bag = s * dataset.tables + t;
      const lookups = offsets === undefined
        ? indices.subarray(bag, bag + 1)
        : indices.subarray(offsets[bag], offsets[bag + 1]);
      return [...lookups].map((row) => row - dataset.firstRows[t]);
    }));
}

/** Labels of all samples of a split. */
export function labelsOf(dataset: Dataset, split: Split): number[] {
  const samples = dataset.samples(split);
  using reader = dataset.reader(split, Math.max(samples, 1));
  return samples === 0 ? [] : [...reader.read(0, samples).labels];
}

/** Dense values of all samples of a split, (samples)(features). */
export function denseOf(dataset: Dataset, split: Split): number[][] {
  const samples = dataset.samples(split);
  using reader = dataset.reader(split, Math.max(samples, 1));
  if (samples === 0) return [];
  const { dense } = reader.read(0, samples);
  const width = dataset.denseFeatures;
  return Array.from({ length: samples }, (_, s) => [...dense.subarray(s * width, (s + 1) * width)]);
}

/** Writes a Parquet file of what a query gives. */
export async function writeParquet(path: string, query: string): Promise<string> {
  const instance = await DuckDBInstance.create();
  const connection = await instance.connect();
  await connection.run(`COPY (${query}) TO '${path}' (FORMAT parquet)`);
  connection.closeSync();
  instance.closeSync();
  return path;
}

const CONFIG = new URL("../../deno.json", import.meta.url).pathname;

/**
 * Calls a function of a module under src in a process of its own, which a shell line runs as "$@", and returns the name
 * and message of its failure.
 */
export async function failureIn(shell: string, module: string, name: string, args: unknown[]): Promise<string> {
  const script = `import { ${name} } from ${JSON.stringify(new URL(`../../src/${module}`, import.meta.url).href)};
    try {
      await ${name}(...${JSON.stringify(args)});
    } catch (error) {
      console.log(error.name + ": " + error.message);
    }`;
  const deno = [Deno.execPath(), "eval", "--config", CONFIG, "--ext=ts", script];
  const { stdout, stderr } = await new Deno.Command("bash", { args: ["-c", shell, "bash", ...deno] }).output();
  assert.equal(new TextDecoder().decode(stderr).replaceAll(/.*Check.*\n/g, ""), "");
  return new TextDecoder().decode(stdout).trim();
}
