/**
 * Trains and scores the same model on the same batches in Hotset and in PyTorch, alternately, and prints both speeds
 * next to their limits: the speed at the rate of a large matrix product. PyTorch runs eager and with torch.compile, in
 * fp32 and in bf16 (autocast). Hotset is compared with the faster one of the same precision. The first five steps of
 * both sides are not measured, because they compile code. Scoring is `hotset evaluate`, whose time includes reading and
 * the metrics; PyTorch's is forward passes and losses.
 *
 *     deno task bench:peers [--write] [scenario...]
 *
 * Without names all scenarios run except `quick`, a small one that checks the setup. `--write` writes the table to
 * docs/performance.md, and its rows of mode cpu with the defaults to README.md. ROUNDS rounds (3). Data is generated
 * once, under hotset/bench.
 */
import { join } from "node:path";
import { Dataset } from "../../src/dataset/dataset.ts";
import { generateDataset } from "../../src/dataset/generate.ts";
import { messageOf } from "../../src/errors.ts";
import type { ProgressEvent, RunEvent } from "../../src/events/events.ts";
import { Layout } from "../../src/layout/layout.ts";
import { SplitBatches } from "../../src/layout/split_batches.ts";
import { cacheName, isArtifact } from "../../src/storage/artifact.ts";
import { writeTable } from "../../tools/page_table.ts";
import { processor } from "../../tools/processor.ts";
import { coldBatches, writePeerBatches } from "./peer_batches.ts";
import { type Peer, PEERS, type Precision, type Row, tableText } from "./peer_table.ts";

/** One comparison. */
interface Scenario {
  readonly name: string;
  /** What the table calls it. */
  readonly title: string;
  readonly samples: number;
  /** Tables of Criteo Kaggle, the large ones divided by this. */
  readonly scale: number;
  readonly ids: "popularity" | "arbitrary";
  readonly preset: "kaggle" | "terabyte";
  /** Layers and rank of the cross network of a DCNv2; undefined for a DLRM. */
  readonly cross?: { readonly layers: number; readonly rank: number };
  readonly batchSize: number;
  readonly optimizer: "sgd" | "adagrad";
  readonly learningRate: number;
  /** True if a trained model scores the test split, half of the samples. */
  readonly scores?: boolean;
  /** True if neither side may multiply matrices with vectors of 512 bits. */
  readonly avx2?: boolean;
  /** Ways to run Hotset, each compared with PyTorch. */
  readonly ways: readonly Way[];
}

/** A way to run Hotset: flags on top of the scenario's. */
interface Way {
  readonly name: string;
  readonly precision?: Precision;
  readonly flags?: readonly string[];
}

const ROUNDS = Number(Deno.env.get("ROUNDS") ?? 3);
const CORES = navigator.hardwareConcurrency;
const FOLDER = join("hotset", "bench");
const RUN = join(FOLDER, "run");
const onCpu = (name: string, ...flags: string[]): Way => ({ name, flags: ["--mode", "cpu", ...flags] });
const CPU = onCpu("cpu");
const BF16: Way = { ...onCpu("cpu", "--precision", "bf16"), precision: "bf16" };
const ORT = onCpu("cpu, ONNX Runtime", "--blas", "ort");
const WASM = onCpu("cpu, WASM only", "--blas", "wasm");
const ONE_RANK = onCpu("cpu, one rank", "--ranks", "1");
const BF16_ONE_RANK: Way = {
  ...onCpu("cpu, one rank", "--ranks", "1", "--precision", "bf16"),
  precision: "bf16",
};
const fae = (name: string, hotMemory: string): Way => ({ name, flags: ["--mode", "fae", "--hot-memory", hotMemory] });
/** About 60 % of the samples are hot. */
const FAE = fae("fae", "24MiB");
/** All rows that are ever looked up are hot: the most that FAE can win. */
const ALL_HOT = fae("fae, all hot", "256MiB");

const kaggle = { scale: 1, ids: "popularity", preset: "kaggle", optimizer: "sgd", learningRate: 0.1 } as const;
const QUICK = "quick";
const SCENARIOS: readonly Scenario[] = [
  {
    ...{ ...kaggle, name: QUICK, title: "kaggle with fewer rows, 2,048, SGD", scale: 20 },
    ...{ samples: 40_960, batchSize: 2048, ways: [CPU, BF16] },
  },
  {
    ...{ ...kaggle, name: "kaggle-2048", title: "kaggle, 2,048, SGD", samples: 409_600, batchSize: 2048 },
    ways: [CPU, BF16, FAE, ONE_RANK, BF16_ONE_RANK, ORT, WASM],
  },
  {
    ...{
      ...kaggle,
      name: "kaggle-avx2",
      title: "kaggle, 2,048, SGD, products with AVX2 only",
      samples: 409_600,
      batchSize: 2048,
    },
    ...{ avx2: true, ways: [CPU, ONE_RANK] },
  },
  {
    ...{ ...kaggle, name: "kaggle-128", title: "kaggle, 128, SGD", samples: 204_800, batchSize: 128 },
    ways: [CPU, BF16, ORT, WASM],
  },
  {
    ...{ ...kaggle, name: "kaggle-adagrad", title: "kaggle, 2,048, Adagrad", samples: 409_600, batchSize: 2048 },
    ...{ optimizer: "adagrad", learningRate: 0.01, ways: [CPU, BF16, ORT, WASM] },
  },
  {
    ...{ ...kaggle, name: "arbitrary-ids", title: "kaggle, 2,048, SGD, ids in arbitrary order", samples: 409_600 },
    ...{ ids: "arbitrary", batchSize: 2048, ways: [CPU, BF16, FAE, ALL_HOT] },
  },
  {
    ...{ ...kaggle, name: "terabyte", title: "terabyte-like (dim 64, 20 M rows), 2,048, SGD", samples: 204_800 },
    scale: 1.68, // 20 M rows of dim 64
    ...{ preset: "terabyte", batchSize: 2048, ways: [CPU, BF16, fae("fae", "48MiB")] },
  },
  {
    ...{ ...kaggle, name: "dcnv2", title: "DCNv2 (3 cross layers of rank 64) on kaggle, 2,048, SGD", samples: 409_600 },
    ...{ cross: { layers: 3, rank: 64 }, batchSize: 2048, ways: [CPU, BF16, FAE] },
  },
  {
    ...{ ...kaggle, name: "kaggle-score", title: "kaggle, 2,048, evaluate", samples: 819_200, batchSize: 2048 },
    ...{ scores: true, ways: [CPU, BF16, ORT, WASM] },
  },
];

const WIDTHS = {
  kaggle: { dim: 16, bottom: "13-512-256-64-16", top: "512-256-1" },
  terabyte: { dim: 64, bottom: "13-512-256-64", top: "512-512-256-1" },
} as const;
const TABLES = 26;
/** Steps that are not measured. */
const WARM_UP = 5;
/** Restrict the matrix products of both sides to AVX2. PyTorch with ATEN_CPU_CAPABILITY=avx2 crashes if it compiles. */
const AVX2_ONLY = {
  OPENBLAS_CORETYPE: "Haswell",
  DNNL_MAX_CPU_ISA: "AVX2",
  ONEDNN_MAX_CPU_ISA: "AVX2",
  MKL_ENABLE_INSTRUCTIONS: "AVX2",
} as const;

/** Runs a command and returns the JSON objects that it writes, one on each line. */
async function run(command: string, args: string[], avx2 = false): Promise<Record<string, unknown>[]> {
  const env = Deno.env.toObject();
  delete env.OPENBLAS_CORETYPE; // both choose the kernels that are best for the processor
  if (avx2) Object.assign(env, AVX2_ONLY);
  const { success, stdout, stderr } = await new Deno.Command(command, { args, clearEnv: true, env }).output();
  if (!success) throw new Error(`${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout).trim().split("\n").map((line) => JSON.parse(line));
}

async function datasetOf({ samples, scale, ids, scores }: Scenario): Promise<Dataset> {
  const fractions = scores ? { validation: 0.01, test: 0.5 } : { validation: 0, test: 0.01 };
  const out = join(FOLDER, `clicks-${cacheName("dataset", [samples, scale, ids, fractions])}`);
  if (isArtifact(out)) return Dataset.open(out);
  console.error(`Generating ${samples} samples...`);
  return await generateDataset(out, { samples, seed: 1, scale, ids, fractions });
}

/** Samples/s of a new run after its first steps. */
async function trainSpeed(scenario: Scenario, dataset: Dataset, way: Way): Promise<number> {
  if (isThere(RUN)) Deno.removeSync(RUN, { recursive: true });
  const { preset, batchSize, optimizer, learningRate } = scenario;
  const flags = ["--preset", preset, "--batch-size", `${batchSize}`, "--optimizer", optimizer];
  const rate = ["--learning-rate", `${learningRate}`];
  const progress = ["--json", "--quiet", "--print-freq", `${WARM_UP}`];
  const common = ["--out", RUN, ...progress, ...scenario.scores ? [] : ["--no-save"]];
  const model = scenario.cross === undefined ? [] : crossFlags(scenario.cross);
  const given = [...flags, ...rate, ...model, ...common, ...way.flags ?? []];
  const args = ["run", "-A", "cli.ts", "train", dataset.directory, ...given];
  const events = await run(Deno.execPath(), args, scenario.avx2) as unknown as RunEvent[];
  const [first, ...measured] = events.filter((event): event is ProgressEvent => event.event === "progress");
  let [step, seconds] = [first.step, 0];
  for (const event of measured) {
    seconds += (event.step - step) * batchSize / event.samplesPerSecond;
    step = event.step;
  }
  return (step - first.step) * batchSize / seconds;
}

function crossFlags({ layers, rank }: NonNullable<Scenario["cross"]>): string[] {
  return ["--model", "dcnv2", "--dcn-num-layers", `${layers}`, "--dcn-low-rank-dim", `${rank}`];
}

/** Samples/s of an evaluation: the test split's, in the time from the event of the validation split to its own. */
async function evaluateSpeed(dataset: Dataset, way: Way): Promise<number> {
  const how = ["--blas", blasOf(way), "--precision", way.precision ?? "fp32"];
  const args = ["run", "-A", "cli.ts", "evaluate", RUN, ...how, "--json", "--quiet"];
  await using process = new Deno.Command(Deno.execPath(), { args, stdout: "piped" }).spawn();
  const times: number[] = [];
  const lines = process.stdout.pipeThrough(new TextDecoderStream());
  for await (const text of lines) {
    for (const _ of text.matchAll(/"event":"evaluation"/g)) times.push(performance.now());
  }
  if (times.length !== 2) throw new Error(`evaluate ${RUN}: ${times.length} evaluations instead of two`);
  return dataset.samples("test") / (times[1] - times[0]) * 1e3;
}

/** The library of matrix products of a way. */
function blasOf(way: Way): "ort" | "wasm" | "auto" {
  return way === ORT ? "ort" : way === WASM ? "wasm" : "auto";
}

/** The speed of PyTorch, and the rate of its products in GFLOP/s. */
async function pytorch(scenario: Scenario, dataset: Dataset, data: string, { compile, precision }: Peer) {
  const { preset, optimizer, learningRate, scores, cross, avx2 } = scenario;
  const { dim, bottom, top } = WIDTHS[preset];
  const options = {
    data,
    tables: dataset.body.tables.map((table) => table.rows).join(","),
    ...{ dim, bottom, top, optimizer, precision },
    "learning-rate": learningRate,
    threads: CORES,
  };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  if (scores) args.push("--score");
  if (cross !== undefined) args.push("--cross-layers", `${cross.layers}`, "--cross-rank", `${cross.rank}`);
  const script = new URL("./dlrm_pytorch.py", import.meta.url).pathname;
  args.push("--warmup", `${WARM_UP}`, ...compile ? ["--compile"] : []);
  const [{ samplesPerSecond, gflops }] = await run("python3", [script, ...args], avx2);
  return { samplesPerSecond: samplesPerSecond as number, gflops: gflops as number };
}

/** GFLOP/s of a large product on one core, or why there is none. */
async function rateOf({ avx2 }: Scenario, way: Way): Promise<number | string> {
  const script = new URL("./product_rate.ts", import.meta.url).pathname;
  try {
    const [{ gflops }] = await run(Deno.execPath(), ["run", "-A", script, blasOf(way), way.precision ?? "fp32"], avx2);
    return gflops as number;
  } catch (error) {
    return messageOf(error);
  }
}

/** Multiply-adds, times two, of all products that a sample takes part in: forward, and in training both gradients. */
function flopsOf({ preset, scores, cross }: Scenario): number {
  const { dim, bottom, top } = WIDTHS[preset];
  const products = (widths: number[]) => widths.slice(1).map((width, i) => width * widths[i]);
  const [first, ...others] = products(bottom.split("-").map(Number));
  const width = dim * (TABLES + 1);
  const crosses = cross === undefined ? [] : new Array<number>(2 * cross.layers).fill(cross.rank * width);
  const input = cross === undefined ? dim + (TABLES + 1) * TABLES / 2 : width;
  const above = products([input, ...top.split("-").map(Number)]);
  const rest = [...others, ...crosses, ...above].reduce((sum, each) => sum + each);
  return scores ? 2 * (first + rest) : 4 * first + 6 * rest; // the data has no gradient
}

function isThere(path: string): boolean {
  try {
    return Deno.statSync(path) !== undefined;
  } catch {
    return false;
  }
}

/** The layout of cold batches that a run in mode cpu left in its cache. */
function coldLayout(dataset: Dataset, batchSize: number): Layout {
  for (const { name } of Deno.readDirSync(join(FOLDER, "layouts"))) {
    const layout = Layout.open(join(FOLDER, "layouts", name));
    const { body } = layout;
    if (body.dataset === dataset.id && body.hotRows === 0 && body.shape.batchSize === batchSize) return layout;
    layout[Symbol.dispose]();
  }
  throw new Error("no run in mode cpu has left its layout");
}

const probe = await new Deno.Command("python3", { args: ["-c", "import torch, numpy; print(torch.__version__)"] })
  .output()
  .catch(() => undefined);
if (!probe?.success) {
  console.error("PyTorch is not installed: pip install torch==2.13.0 numpy");
  Deno.exit(1);
}
const torch = `PyTorch ${new TextDecoder().decode(probe.stdout).trim()}`;
const wanted = Deno.args.filter((name) => name !== "--write");
Deno.mkdirSync(FOLDER, { recursive: true });
const rows: Row[] = [];
for (const scenario of SCENARIOS.filter(({ name }) => wanted.length === 0 ? name !== QUICK : wanted.includes(name))) {
  const dataset = await datasetOf(scenario);
  await trainSpeed(scenario, dataset, CPU); // warms the files, and leaves the layout or the model to score with
  const data = join(FOLDER, "pytorch");
  if (scenario.scores) {
    using batches = new SplitBatches(dataset, "test", scenario.batchSize);
    writePeerBatches(batches, dataset, data);
  } else {
    using layout = coldLayout(dataset, scenario.batchSize);
    writePeerBatches(coldBatches(layout), dataset, data);
  }
  const ways: { way: Way; rate: number; speeds: number[] }[] = [];
  for (const way of scenario.ways) {
    const rate = await rateOf(scenario, way);
    if (typeof rate === "string") console.error(`Skipped: ${way.name}${way === BF16 ? ", bf16" : ""}: ${rate}`);
    else ways.push({ way, rate, speeds: [] });
  }
  const precisions = new Set(ways.map(({ way: { precision = "fp32" } }) => precision));
  const peers = PEERS.filter(({ precision }) => precisions.has(precision)).map((peer) => ({
    peer,
    speeds: [] as number[],
    rate: 0,
  }));
  for (let round = 0; round < ROUNDS; round++) {
    for (const each of peers) {
      const { samplesPerSecond, gflops } = await pytorch(scenario, dataset, data, each.peer);
      each.speeds.push(samplesPerSecond);
      each.rate = Math.max(each.rate, gflops);
    }
    for (const { way, speeds } of ways) {
      speeds.push(scenario.scores ? await evaluateSpeed(dataset, way) : await trainSpeed(scenario, dataset, way));
    }
    const all = [...peers.map(({ speeds }) => speeds), ...ways.map(({ speeds }) => speeds)];
    console.error(`${scenario.name}, round ${round + 1}: ${all.map((speeds) => Math.round(speeds[round])).join(", ")}`);
  }
  const flops = flopsOf(scenario);
  for (const { way, rate, speeds } of ways) {
    const { name, precision = "fp32" } = way;
    const [eager, compiled] = peers.filter(({ peer }) => peer.precision === precision);
    rows.push({
      ...{ title: scenario.title, way: name, precision, hotset: speeds },
      ...{ eager: eager.speeds, compiled: compiled.speeds },
      hotsetLimit: rate * 1e9 / flops * (way === ONE_RANK || way === BF16_ONE_RANK ? 1 : CORES),
      peerLimit: Math.max(eager.rate, compiled.rate) * 1e9 / flops,
    });
  }
}
const about = `Samples/s, medians of ${ROUNDS} rounds in turn. ${processor()}; ${torch}.`;
const text = `${about}\n\n${tableText(rows)}`;
console.log(text);
if (Deno.args.includes("--write")) {
  writeTable("docs/performance.md", "bench:peers", text);
  writeTable("README.md", "bench:peers", `${about}\n\n${tableText(rows.filter(({ way }) => way === CPU.name))}`);
}
