/**
 * Trains the same model on the same batches in Hotset and in PyTorch, in turn, and prints the ratio of their samples/s.
 * `deno task bench:peers [scenario...]`; without names all scenarios run. Data is generated, once, under hotset/bench.
 */
import Table from "cli-table3";
import { join } from "node:path";
import { Dataset } from "../../src/dataset/dataset.ts";
import { generateDataset } from "../../src/dataset/generate.ts";
import { Layout } from "../../src/layout/layout.ts";
import { cacheName, isArtifact } from "../../src/storage/artifact.ts";
import { writePeerBatches } from "./peer_batches.ts";

/** One comparison. */
interface Scenario {
  readonly name: string;
  readonly samples: number;
  /** Tables of Criteo Kaggle, the large ones divided by this. */
  readonly scale: number;
  readonly ids: "popularity" | "arbitrary";
  readonly preset: "kaggle" | "terabyte";
  readonly batchSize: number;
  readonly optimizer: "sgd" | "adagrad";
  readonly learningRate: number;
  /** Ways to run Hotset, each compared with PyTorch. */
  readonly ways: readonly Way[];
}

/** A way to run Hotset: flags on top of the scenario's. */
interface Way {
  readonly name: string;
  readonly flags?: readonly string[];
}

const ROUNDS = Number(Deno.env.get("ROUNDS") ?? 3);
const CORES = navigator.hardwareConcurrency;
const FOLDER = join("hotset", "bench");
const CPU: Way = { name: "cpu", flags: ["--mode", "cpu"] };
const ORT: Way = { name: "cpu, ONNX Runtime", flags: ["--mode", "cpu", "--blas", "ort"] };
const WASM: Way = { name: "cpu, WASM only", flags: ["--mode", "cpu", "--blas", "wasm"] };
const ONE_RANK: Way = { name: "cpu, one rank", flags: ["--mode", "cpu", "--ranks", "1"] };
const fae = (name: string, hotMemory: string): Way => ({ name, flags: ["--mode", "fae", "--hot-memory", hotMemory] });
/** About 60 % of the samples are hot. */
const FAE = fae("fae", "24MiB");
/** All rows that are ever looked up are hot: the most that FAE can win. */
const ALL_HOT = fae("fae, all hot", "256MiB");

const kaggle = { scale: 1, ids: "popularity", preset: "kaggle", optimizer: "sgd", learningRate: 0.1 } as const;
const SCENARIOS: readonly Scenario[] = [
  { ...kaggle, name: "kaggle-2048", samples: 409_600, batchSize: 2048, ways: [CPU, FAE, ONE_RANK, ORT, WASM] },
  { ...kaggle, name: "kaggle-128", samples: 204_800, batchSize: 128, ways: [CPU, ORT, WASM] },
  {
    ...kaggle,
    name: "kaggle-adagrad",
    samples: 409_600,
    batchSize: 2048,
    optimizer: "adagrad",
    learningRate: 0.01,
    ways: [CPU, ORT, WASM],
  },
  { ...kaggle, name: "arbitrary-ids", samples: 409_600, ids: "arbitrary", batchSize: 2048, ways: [CPU, FAE, ALL_HOT] },
  {
    ...kaggle,
    name: "terabyte",
    samples: 204_800,
    scale: 1.68, // 20 M rows of dim 64
    preset: "terabyte",
    batchSize: 2048,
    ways: [CPU, fae("fae", "48MiB")],
  },
];

const WIDTHS = {
  kaggle: { dim: 16, bottom: "13-512-256-64-16", top: "512-256-1" },
  terabyte: { dim: 64, bottom: "13-512-256-64", top: "512-512-256-1" },
} as const;

/** Runs a command and returns the JSON object on the last line of its output. */
async function run(
  command: string,
  args: string[],
): Promise<Record<string, number>> {
  const env = Deno.env.toObject();
  delete env.OPENBLAS_CORETYPE; // both choose the kernels that are best for the processor
  const { success, stdout, stderr } = await new Deno.Command(command, { args, clearEnv: true, env }).output();
  const lines = new TextDecoder().decode(stdout).trim().split("\n");
  if (!success) throw new Error(`${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return JSON.parse(lines.at(-1)!);
}

function datasetOf({ samples, scale, ids }: Scenario): Dataset {
  const out = join(FOLDER, `clicks-${cacheName("dataset", [samples, scale, ids])}`);
  if (isArtifact(out)) return Dataset.open(out);
  console.error(`Generating ${samples} samples...`);
  return generateDataset(out, { samples, seed: 1, scale, ids, fractions: { validation: 0, test: 0.01 } });
}

async function hotset(scenario: Scenario, dataset: Dataset, way: Way): Promise<number> {
  const out = join(FOLDER, "run");
  if (isThere(out)) Deno.removeSync(out, { recursive: true });
  const { preset, batchSize, optimizer, learningRate } = scenario;
  const flags = ["--preset", preset, "--batch-size", `${batchSize}`, "--optimizer", optimizer];
  const rate = ["--learning-rate", `${learningRate}`];
  const common = ["--out", out, "--json", "--quiet", "--no-save"];
  const args = ["run", "-A", "cli.ts", "train", dataset.directory, ...flags, ...rate, ...common, ...way.flags ?? []];
  const result = await run(Deno.execPath(), args);
  return result.samplesPerSecond;
}

async function pytorch(scenario: Scenario, dataset: Dataset, data: string): Promise<number> {
  const { preset, optimizer, learningRate } = scenario;
  const { dim, bottom, top } = WIDTHS[preset];
  const options = {
    data,
    tables: dataset.body.tables.map((table) => table.rows).join(","),
    dim,
    bottom,
    top,
    optimizer,
    "learning-rate": learningRate,
    threads: CORES,
  };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const script = new URL("./dlrm_pytorch.py", import.meta.url).pathname;
  return (await run("python3", [script, ...args])).samplesPerSecond;
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

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

const probe = await new Deno.Command("python3", { args: ["-c", "import torch, numpy; print(torch.__version__)"] })
  .output()
  .catch(() => undefined);
if (!probe?.success) {
  console.error("PyTorch is not installed: pip install torch==2.13.0 numpy");
  Deno.exit(1);
}
Deno.mkdirSync(FOLDER, { recursive: true });
const table = new Table({
  style: { head: [], border: [], compact: true },
  head: ["scenario", "Hotset", "samples/s", "PyTorch", "ratio", "spread"],
});
for (const scenario of SCENARIOS.filter(({ name }) => Deno.args.length === 0 || Deno.args.includes(name))) {
  const dataset = datasetOf(scenario);
  await hotset(scenario, dataset, scenario.ways[0]); // warms the files and leaves the layout
  const data = join(FOLDER, "pytorch");
  {
    using layout = coldLayout(dataset, scenario.batchSize);
    writePeerBatches(layout, dataset, data);
  }
  const speeds = new Map<string, number[]>(scenario.ways.map((way) => [way.name, []]));
  const peer: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    peer.push(await pytorch(scenario, dataset, data));
    for (const way of scenario.ways) {
      speeds.get(way.name)!.push(await hotset(scenario, dataset, way));
      console.error(
        `${scenario.name} ${way.name}: ${speeds.get(way.name)!.at(-1)!.toFixed(0)} v ${peer.at(-1)!.toFixed(0)}`,
      );
    }
  }
  for (const [name, values] of speeds) {
    const ratios = values.map((value, round) => value / peer[round]);
    const spread = `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`;
    const cells = [median(values).toFixed(0), median(peer).toFixed(0), median(ratios).toFixed(2), spread];
    table.push([scenario.name, name, ...cells]);
  }
}
console.log(table.toString());
