/**
 * Trains on real logs with several seeds and writes the tables of docs/accuracy.md.
 *
 *     deno run -A tools/evidence/accuracy.ts FOLDER              every table
 *     deno run -A tools/evidence/accuracy.ts FOLDER precision    this table alone, with --seeds N of N seeds instead of 5
 *
 * FOLDER contains the logs that `accuracy_cases.ts` names. The result of each run is stored in `--results FILE` (default
 * .cache/evidence/accuracy.jsonl) when the run ends, so that an interrupted series continues where it stopped, and a
 * complete one only writes its table; delete the file to measure again. Peers need python3 with torch, lightgbm and
 * scikit-learn.
 */
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Dataset, Split } from "../../src/dataset/dataset.ts";
import { metricsOf } from "../../src/events/metrics.ts";
import { startRun } from "../../src/run/run.ts";
import { ensureDataset } from "../../src/run/stages.ts";
import { type Contender, type Log, type LogName, LOGS, type Result, TABLES } from "./accuracy_cases.ts";
import { writeTable } from "../page_table.ts";
import { processor } from "../processor.ts";
import { commitOfCode } from "./evidence.ts";

/** Results of runs, by log, contender and seed, in a file of one line each. */
class Results {
  readonly #file: string;
  readonly #byKey = new Map<string, Result>();

  constructor(file: string) {
    this.#file = file;
    Deno.mkdirSync(dirname(resolve(file)), { recursive: true });
    Deno.openSync(file, { create: true, append: true }).close();
    for (const line of Deno.readTextFileSync(file).split("\n")) {
      if (line !== "") this.#set(JSON.parse(line));
    }
  }

  get(log: LogName, { name }: Contender, seed: number): Result | undefined {
    return this.#byKey.get(JSON.stringify([log, name, seed]));
  }

  add(result: Result): void {
    this.#set(result);
    Deno.writeTextFileSync(this.#file, `${JSON.stringify(result)}\n`, { append: true });
  }

  #set(result: Result): void {
    this.#byKey.set(JSON.stringify([result.log, result.contender, result.seed]), result);
  }
}

/** Writes a split for a peer: labels, dense features and, sample by sample, the ids of all tables. */
function writeSplit(dataset: Dataset, split: Split, folder: string): Uint8Array {
  using reader = dataset.reader(split, dataset.samples(split));
  const { labels, dense, indices } = reader.read(0, reader.samples);
  const write = (name: string, { buffer, byteOffset, byteLength }: Uint8Array | Uint32Array | Float32Array) =>
    Deno.writeFileSync(join(folder, `${split}.${name}`), new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength));
  write("labels.u8", labels);
  write("dense.f32", dense);
  write("ids.u32", indices.map((row, i) => row - dataset.firstRows[i % dataset.tables]));
  return labels.slice();
}

/** Trains a peer on all splits but test, in another process that writes its logits of the test split. */
async function trainPeer([script, ...args]: readonly string[], seed: number, dataset: Dataset, folder: string) {
  const { tables, denseFeatures, body } = dataset;
  const shape = { denseFeatures, tables, rows: body.tables.map(({ rows }) => rows), seed };
  Deno.writeTextFileSync(join(folder, "shape.json"), JSON.stringify(shape));
  for (const split of ["train", "validation"] as const) writeSplit(dataset, split, folder);
  const labels = writeSplit(dataset, "test", folder);
  const program = fileURLToPath(new URL(script, import.meta.url));
  const { success } = await new Deno.Command("python3", { args: [program, folder, ...args], stdin: "null" }).spawn()
    .status;
  if (!success) throw new Error(`${script} failed`);
  return metricsOf(new Float32Array(Deno.readFileSync(join(folder, "logits.f32")).buffer), labels);
}

/** Trains a contender in an empty folder and returns its metrics of the test split. */
async function train(log: Log, contender: Contender, seed: number, data: string, cache: string, folder: string) {
  const { raw, trainer } = contender;
  const at = (file: string) => join(data, file);
  const reading = { format: log.format, ...(log.testInputs && { testInputs: log.testInputs.map(at) }), ...raw };
  const dataset = await ensureDataset(log.inputs.map(at), reading, cache, () => {});
  if (isScript(trainer)) {
    const { auc, logloss } = await trainPeer(trainer, seed, dataset, folder);
    return { auc, logloss };
  }
  let [switches, hotShare] = [0, NaN];
  const { auc, logloss, hotSampleShare } = await startRun(trainer(seed), dataset, {
    out: join(folder, "run"),
    report(event) {
      if (event.event !== "progress") return;
      if (Math.abs(event.hotShare - hotShare) === 1) switches++;
      hotShare = event.hotShare;
    },
  });
  return { auc, logloss, hotSampleShare, switches };
}

function isScript(trainer: Contender["trainer"]): trainer is readonly [string, ...string[]] {
  return Array.isArray(trainer);
}

if (import.meta.main) {
  const { values, positionals: [data, ...names] } = parseArgs({
    allowPositionals: true,
    options: {
      seeds: { type: "string", default: "5" },
      results: {
        type: "string",
        default: fileURLToPath(new URL("../../.cache/evidence/accuracy.jsonl", import.meta.url)),
      },
    },
  });
  const unknown = names.find((name) => !TABLES.some((table) => table.name === name));
  if (data === undefined || unknown !== undefined) {
    const known = TABLES.map(({ name }) => name).join(", ");
    console.error(`error: ${unknown === undefined ? "name the folder of the logs" : `no table ${unknown}: ${known}`}`);
    Deno.exit(2);
  }
  const seeds = Number(values.seeds);
  const results = new Results(values.results);
  const commit = commitOfCode();
  const temporary = Deno.makeTempDirSync({ prefix: "hotset-accuracy-" });
  try {
    for (const table of TABLES.filter(({ name }) => names.length === 0 || names.includes(name))) {
      // Seed by seed, so that an interrupted series has complete rows for the first seeds.
      for (let seed = 1; seed <= seeds; seed++) {
        for (const { log, contenders } of table.rows) {
          for (const contender of contenders) {
            if (results.get(log, contender, seed) !== undefined || contender.seedless && seed > 1) continue;
            const folder = join(temporary, "run");
            Deno.mkdirSync(folder);
            const figures = await train(LOGS[log], contender, seed, data, temporary, folder);
            Deno.removeSync(folder, { recursive: true });
            results.add({ log, contender: contender.name, seed, commit, ...figures });
            console.log(`${log}, ${contender.name}, seed ${seed}: AUC ${figures.auc.toFixed(4)}`);
          }
        }
      }
      const text = table.text((log, contender) =>
        Array.from({ length: contender.seedless ? 1 : seeds }, (_, i) => results.get(log, contender, i + 1)!)
      );
      writeTable("docs/accuracy.md", `evidence ${table.name}`, `${text}\n\nSeeds 1 to ${seeds}; ${processor()}.`);
    }
  } finally {
    Deno.removeSync(temporary, { recursive: true });
  }
}
