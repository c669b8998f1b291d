/**
 * Measures for how long the long functions of the library keep the event loop from turning.
 *
 *     deno task bench:event-loop [--samples N] [--scale FACTOR] [--json]
 *
 * Each function works on generated clicks with the columns of Criteo, tables divided by FACTOR, while a timer of 1 ms
 * runs. The longest time between two of its turns is what a request waits at most that a server on the same thread
 * receives meanwhile. The last rows are functions that compute at once, as their documentation says.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { resolveConfig } from "../src/config/config.ts";
import { Dataset } from "../src/dataset/dataset.ts";
import { generateDataset, writeCriteoLog } from "../src/dataset/generate.ts";
import { inferSchema } from "../src/dataset/infer.ts";
import { prepareDataset } from "../src/dataset/prepare.ts";
import { writeRows } from "../src/dataset/write_rows.ts";
import { diagnose } from "../src/doctor.ts";
import { metricsOf } from "../src/events/metrics.ts";
import { bytes, count } from "../src/format.ts";
import { exportRun } from "../src/interop/export_run.ts";
import { importRun } from "../src/interop/import_run.ts";
import { buildLayout } from "../src/layout/build_layout.ts";
import { planDataset, thisMachine } from "../src/plan/plan_training.ts";
import { profileDataset } from "../src/profile/profile_dataset.ts";
import { Random } from "../src/random.ts";
import { writeProfileReport } from "../src/report/html/profile_report.ts";
import { writeRunReport } from "../src/report/html/run_report.ts";
import { packRun } from "../src/run/packed_run.ts";
import { reproduceRun } from "../src/run/reproduce.ts";
import { resumeRun, startRun } from "../src/run/run.ts";
import { evaluateRun, keepColumns, predictRun, writeScores } from "../src/run/score_run.ts";
import { openModel } from "../src/serving/scoring_model.ts";
import { markdownTable } from "../tools/markdown_table.ts";

/** What was measured of a call. */
export interface Gap {
  /** The function, and what else matters of the call. */
  readonly what: string;
  /** What it worked on. */
  readonly size: string;
  readonly seconds: number;
  /** Turns of the event loop during the call. */
  readonly turns: number;
  /** The longest time between two turns, in milliseconds. */
  readonly longest: number;
}

/** Calls `work` and measures the turns of the event loop meanwhile. */
async function watch<T>(work: () => T | Promise<T>): Promise<{ result: T } & Omit<Gap, "what" | "size">> {
  const begin = performance.now();
  let turns = 0, longest = 0, last = begin;
  const turn = () => {
    const now = performance.now();
    turns++;
    longest = Math.max(longest, now - last);
    last = now;
  };
  const timer = setInterval(turn, 1);
  await new Promise((resolve) => setTimeout(resolve, 2));
  try {
    const result = await work();
    turn();
    return { result, seconds: (performance.now() - begin) / 1000, turns, longest };
  } finally {
    clearInterval(timer);
  }
}

const silent = () => {};
const FRACTIONS = { validation: 0.1, test: 0.1 };
const FRACTION_FLAGS = { validationFraction: 0.1, testFraction: 0.1 };

/** Calls every long function of the library in a folder, on clicks of this size. */
export async function* measureGaps(
  folder: string,
  { samples, scale }: { readonly samples: number; readonly scale: number },
): AsyncGenerator<Gap> {
  const path = (name: string) => join(folder, name);
  const gaps: Gap[] = [];
  const call = async <T>(what: string, size: string, work: () => T | Promise<T>): Promise<T> => {
    const { result, ...found } = await watch(work);
    gaps.push({ what, size, ...found });
    return result;
  };
  const clicks = `${count(samples)} samples`;
  const generation = { samples, seed: 1, scale, fractions: FRACTIONS };

  await call("writeCriteoLog", clicks, () => writeCriteoLog(path("log.tsv"), generation));
  const generated = await call("generateDataset", clicks, () => generateDataset(path("generated"), generation));
  yield* gaps.splice(0);
  const log = { inputs: [path("log.tsv")], ...FRACTION_FLAGS };
  const dataset = await call(
    "prepareDataset, Criteo",
    clicks,
    () => prepareDataset({ ...log, format: "criteo", out: path("data") }),
  );
  const rows = `${count(dataset.rows)} rows`;
  const few = Math.ceil(samples / 10);
  const objects = Array.from({ length: few }, (_, i) => ({ click: i % 2, user: `u${i % 9973}`, price: i / 7 }));
  await call("writeRows, objects", `${count(few)} rows`, () => writeRows(objects, path("rows.parquet")));
  const parquet = { inputs: [path("rows.parquet")], format: "parquet", ...FRACTION_FLAGS } as const;
  const schema = await call(
    "inferSchema, Parquet",
    `${count(few)} rows`,
    () => inferSchema(path("rows.parquet"), silent, silent, "click"),
  );
  const small = await call(
    "prepareDataset, Parquet",
    `${count(few)} samples`,
    () => prepareDataset({ ...parquet, schema, out: path("small") }),
  );
  yield* gaps.splice(0);

  const budget = { dim: 16, optimizer: "adagrad", hotMemory: 2 ** 24, seed: 1 } as const;
  const profile = await call("profileDataset", rows, () => profileDataset(dataset, { out: path("hot"), ...budget }));
  await call(
    "profileDataset, 5 % sampled",
    clicks,
    () => profileDataset(dataset, { out: path("sampled"), ...budget, sampleRate: 5 }),
  );
  const layout = { batchSize: 2048, shuffle: { seed: 1 } };
  (await call("buildLayout", clicks, () => buildLayout(dataset, profile, { out: path("layout"), ...layout })))
    [Symbol.dispose]();
  const config = resolveConfig("kaggle", { mode: "cpu", device: "cpu", batchSize: 2048, optimizer: "adagrad" });
  await call("planDataset", rows, () => planDataset(dataset, config, thisMachine()));
  yield* gaps.splice(0);

  const run = path("run");
  await call("startRun", clicks, () => startRun(config, dataset, { out: run, report: silent }));
  const model = bytes(4 * dataset.rows * config.dim);
  await call("resumeRun, of an ended run", model, () => resumeRun({ out: run, report: silent }));
  await call(
    "startRun, from another run",
    clicks,
    () => startRun(config, dataset, { out: path("next"), from: run, report: silent }),
  );
  // What once kept the event loop waiting: large batches, switches between hot and cold ones, rows on disk.
  const large = 65_536;
  const largeLayout = { ...layout, out: path("large-layout"), batchSize: large };
  (await call("buildLayout, batches of 65,536", clicks, () => buildLayout(dataset, profile, largeLayout)))
    [Symbol.dispose]();
  const fae = { ...config, mode: "fae", hotMemory: 2 ** 24 } as const;
  const others = {
    "batches of 65,536": { ...config, batchSize: large },
    "mode fae": fae,
    "mode fae, batches of 65,536": { ...fae, batchSize: large },
    "a tenth of the rows in memory": { ...config, memory: { share: 0.1 } },
  };
  for (const [i, [what, other]] of Object.entries(others).entries()) {
    const options = { out: path(`other-${i}`), report: silent };
    await call(`startRun, ${what}`, clicks, () => startRun(other, dataset, options));
  }
  yield* gaps.splice(0);
  await call("reproduceRun", clicks, () => reproduceRun(run, silent));
  await call("writeRunReport", rows, () => writeRunReport(run, path("run.html")));
  await call("writeProfileReport", rows, () => writeProfileReport(profile, dataset, path("profile.html")));
  yield* gaps.splice(0);

  await call("evaluateRun", clicks, () => evaluateRun(run, [], silent));
  const scores = await call("predictRun", clicks, () => predictRun(run, log.inputs, {}, silent));
  await call("keepColumns", clicks, () => keepColumns(run, log.inputs, ["C1"]));
  await call("writeScores", clicks, () => writeScores(scores, path("scores.csv"), "csv"));
  yield* gaps.splice(0);

  (await call("openModel", model, () => openModel(run)))[Symbol.dispose]();
  (await call("openModel, rowMemory", model, () => openModel(run, { rowMemory: 2 ** 20 })))[Symbol.dispose]();
  await call("packRun", model, () => packRun(run, path("model.hotset"), silent));
  (await call("openModel, a packed run", model, () => openModel(path("model.hotset"))))[Symbol.dispose]();
  await call("exportRun, ONNX", model, () => exportRun(run, "onnx", path("model.onnx"), silent));
  const [tensors] = await call(
    "exportRun, safetensors",
    model,
    () => exportRun(run, "safetensors", path("model.safetensors"), silent),
  );
  const imported = { data: dataset.directory, out: path("imported"), config: {} };
  await call("importRun", model, () => importRun(tensors, imported, silent));
  await call("diagnose", "", () => diagnose());
  yield* gaps.splice(0);

  const random = new Random(1);
  const labels = Uint8Array.from({ length: few }, () => random.below(2));
  await call("metricsOf (at once)", `${count(few)} logits`, () => metricsOf(new Float32Array(few), labels));
  await call("Dataset.open (at once)", clicks, () => Dataset.open(generated.directory));
  await call("Dataset.open, lengths (at once)", `${count(small.samples("train"))} samples`, () => {
    return Dataset.open(small.directory, "lengths");
  });
  yield* gaps.splice(0);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      samples: { type: "string", default: "200000" },
      scale: { type: "string", default: "10" },
      json: { type: "boolean", default: false },
    },
  });
  const folder = Deno.makeTempDirSync({ prefix: "hotset-event-loop-" });
  const lines = [["function", "on", "seconds", "turns", "longest gap (ms)"]];
  try {
    for await (const gap of measureGaps(folder, { samples: Number(values.samples), scale: Number(values.scale) })) {
      if (values.json) console.log(JSON.stringify(gap));
      const { what, size, seconds, turns, longest } = gap;
      lines.push([what, size, seconds.toFixed(1), count(turns), longest.toFixed(0)]);
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
  if (!values.json) console.log(markdownTable(lines));
}
