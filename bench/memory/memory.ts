/**
 * Speed of training within less memory: samples/s by the budget, each run in a control group that limits it to its
 * budget. In the group of the budget PEER_SHARE also run PyTorch over memory-mapped tables, Hotset over memory-mapped
 * tables, and Hotset with its rows in lmdb. Measures the speed of the disk first.
 *
 *     deno task bench:memory [--write] [scenario...]
 *
 * The limit of a run is the peak memory of the same run with tiny tables plus the share of the bytes of rows and their
 * state. Without root there are no limits, which the output says. `--write` writes the table to docs/tiers.md and
 * README.md, and the chart to docs/memory.svg. ROUNDS rounds (3), in which the programs alternate. Data is generated
 * once, under hotset/bench.
 */
import { join } from "node:path";
import { resolveConfig } from "../../src/config/config.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { generateDataset } from "../../src/dataset/generate.ts";
import { READ_DEPTH } from "../../src/embedding/stores/page_reader.ts";
import type { MovedRows } from "../../src/events/events.ts";
import { bytes, count, percent } from "../../src/format.ts";
import { Layout } from "../../src/layout/layout.ts";
import { cacheName, isArtifact } from "../../src/storage/artifact.ts";
import { writeTable } from "../../tools/page_table.ts";
import { processor } from "../../tools/processor.ts";
import { median } from "../median.ts";
import { coldBatches, writePeerBatches } from "../peers/peer_batches.ts";
import { MemoryGroup } from "./cgroup.ts";
import { memoryPlot, type MemoryPoint } from "./memory_plot.ts";

/** One model over one log. */
interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly preset: "kaggle" | "terabyte";
  readonly dim: number;
  readonly bottom: string;
  readonly top: string;
  readonly samples: number;
  /** The tables of Criteo Kaggle, the large ones divided by this, so that the samples touch much of them. */
  readonly scale: number;
}

const SCENARIOS: readonly Scenario[] = [
  {
    ...{ name: "kaggle", title: "kaggle", preset: "kaggle", dim: 16, samples: 204_800, scale: 8 },
    ...{ bottom: "13-512-256-64-16", top: "512-256-1" },
  },
  {
    ...{ name: "terabyte", title: "terabyte-like", preset: "terabyte", dim: 64, samples: 102_400, scale: 8 },
    ...{ bottom: "13-512-256-64", top: "512-512-256-1" },
  },
];
const SHARES = [1, 0.5, 0.25, 0.1, 0.05];
const PEER_SHARE = 0.1;
const EPOCHS = 2;
const BATCH_SIZE = 2048;
const TINY_SCALE = 34_000;
const ROUNDS = Number(Deno.env.get("ROUNDS") ?? 3);
/** Peers stop after so many seconds: over mapped tables a step may take minutes. */
const PEER_SECONDS = 30;
const FOLDER = join("hotset", "bench");

/** What a command prints on its last line, a JSON object; why it failed where it did. */
async function run(command: string, args: string[], limit?: number): Promise<Record<string, unknown>> {
  using group = limit === undefined ? undefined : groupOf(limit);
  const [program, words] = group?.within(command, args) ?? [command, args];
  const { stdout, stderr, signal, code } = await new Deno.Command(program, { args: words }).output();
  const lines = new TextDecoder().decode(stdout).trim().split("\n");
  if (code === 0) return JSON.parse(lines.at(-1)!);
  const reason = new TextDecoder().decode(stderr).trim().split("\n").at(-1);
  return { failed: signal === "SIGKILL" || code === 137 ? "killed: out of memory" : `${reason}` };
}

function groupOf(limit: number): MemoryGroup | undefined {
  const group = MemoryGroup.make(limit);
  return typeof group === "string" ? undefined : group;
}

async function datasetOf({ samples, scale }: Pick<Scenario, "samples" | "scale">): Promise<Dataset> {
  const out = join(FOLDER, `clicks-${cacheName("dataset", [samples, scale, "memory"])}`);
  if (isArtifact(out)) return Dataset.open(out);
  return await generateDataset(out, { samples, seed: 1, scale, fractions: { validation: 0, test: 0.01 } });
}

function train({ preset }: Scenario, dataset: Dataset, flags: string[], limit?: number) {
  const out = join(FOLDER, "run");
  Deno.mkdirSync(out, { recursive: true });
  Deno.removeSync(out, { recursive: true });
  const model = ["--preset", preset, "--batch-size", `${BATCH_SIZE}`, "--optimizer", "adagrad", "--mode", "cpu"];
  const common = ["--epochs", `${EPOCHS}`, "--ranks", "1", "--no-save", "--json", "--quiet", "--out", out];
  return run(
    Deno.execPath(),
    ["run", "-A", "--no-check", "cli.ts", "train", dataset.directory, ...model, ...common, ...flags],
    limit,
  );
}

/** PyTorch over the batches that a run left in its layout, its tables and their state in mapped files. */
async function pytorch({ dim, bottom, top }: Scenario, dataset: Dataset, limit: number) {
  const data = join(FOLDER, "pytorch");
  for (const { name } of Deno.readDirSync(join(FOLDER, "layouts"))) {
    using layout = Layout.open(join(FOLDER, "layouts", name));
    if (layout.body.dataset === dataset.id) writePeerBatches(coldBatches(layout), dataset, data);
  }
  const tables = join(FOLDER, "mapped");
  const options = {
    ...{ data, dim, bottom, top, optimizer: "adagrad", "learning-rate": 0.01, mapped: tables },
    tables: dataset.body.tables.map(({ rows }) => rows).join(","),
    ...{ threads: navigator.hardwareConcurrency, seconds: PEER_SECONDS, warmup: 1 },
  };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const script = new URL("../peers/dlrm_pytorch.py", import.meta.url).pathname;
  try {
    return await run("python3", [script, ...args], limit);
  } finally {
    Deno.removeSync(tables, { recursive: true });
  }
}

/** Hotset with its rows elsewhere: `train_over.ts` says where. */
function trainOver(where: "mapped" | "lmdb", { preset }: Scenario, dataset: Dataset, limit: number) {
  const { dim, bottom, top } = resolveConfig(preset);
  const model = { dim, bottom, top, batchSize: BATCH_SIZE, optimizer: "adagrad", epochs: EPOCHS };
  const script = new URL("./train_over.ts", import.meta.url).pathname;
  const args = [where, dataset.directory, JSON.stringify(model), FOLDER, `${PEER_SECONDS}`, `${PEER_SHARE}`];
  return run(Deno.execPath(), ["run", "-A", "--no-check", script, ...args], limit);
}

interface Way {
  readonly name: string;
  /** Of the bytes of rows, where the memory for them is limited; and who is at work. */
  readonly share?: number;
  readonly who?: string;
  readonly limit?: number;
  readonly isPeer?: boolean;
  readonly run: () => Promise<Record<string, unknown>>;
  readonly results: Record<string, unknown>[];
}

const speedOf = (result: Record<string, unknown>) => Number(result.samplesPerSecond ?? NaN);

const HEAD = [
  ...["model", "memory", "limit", "samples/s", "of in memory (rounds)"],
  ...["rows fetched, read a step", "reads of the disk a step", "pages/s, of the disk's"],
];

function rowOf({ title }: Scenario, way: Way, base: readonly number[], diskReads: number): string[] {
  const speeds = way.results.map(speedOf);
  const limit = way.limit === undefined ? "" : bytes(way.limit);
  const failed = way.results.find(({ failed }) => failed !== undefined)?.failed;
  if (failed !== undefined) return [title, way.name, limit, `${failed}`, "", "", "", ""];
  const ratios = speeds.map((speed, round) => speed / base[round]);
  const [least, most] = [Math.min(...ratios), Math.max(...ratios)].map((ratio) => ratio.toFixed(2));
  const result = way.results.at(-1)!;
  const moved = result.moved as MovedRows | undefined;
  const steps = Number(result.steps);
  const pages = moved === undefined ? 0 : moved.bytesRead / 4096 / Number(result.seconds);
  return [
    ...[title, way.name, limit, count(median(speeds)), `${median(ratios).toFixed(2)} (${least} to ${most})`],
    moved === undefined ? "" : `${count(moved.fetched / steps)}, ${count(moved.read / steps)}`,
    moved === undefined || way.isPeer ? "" : count(moved.reads / steps),
    moved === undefined || way.isPeer ? "" : `${count(pages)}, ${percent(pages / diskReads)}`,
  ];
}

const wanted = Deno.args.filter((name) => name !== "--write");
Deno.mkdirSync(FOLDER, { recursive: true });
const disk = await run("sh", ["-c", `"$0" run -A bench/row_store.ts ${FOLDER} 100000 | head -1`, Deno.execPath()]);
const diskReads = Number(disk.pagesPerSecond);
console.error(`The disk reads ${count(diskReads)} random pages of 4 KiB a second`);
const limited = MemoryGroup.make(2 ** 30);
if (typeof limited === "string") console.error(`SKIPPED: limits of memory, runs only get their budgets: ${limited}`);
else limited[Symbol.dispose]();
const hasTorch = (await new Deno.Command("python3", { args: ["-c", "import torch"] }).output()).success;
if (!hasTorch) console.error("SKIPPED: PyTorch is not installed");
const lines: string[][] = [];
const points: MemoryPoint[] = [];
for (const scenario of SCENARIOS.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  const dataset = await datasetOf(scenario);
  const tiny = await train(scenario, await datasetOf({ samples: 40_960, scale: TINY_SCALE }), []);
  const tableBytes = 2 * 4 * scenario.dim * dataset.rows;
  const limitOf = (share: number) => Number(tiny.peakRssBytes) + share * tableBytes;
  const inMemory: Way = { name: "in memory, no limit", results: [], run: () => train(scenario, dataset, []) };
  const ways: Way[] = [inMemory];
  for (const share of SHARES) {
    const limit = limitOf(share);
    const flags = ["--memory", `${100 * share}%`];
    const run = () => train(scenario, dataset, flags, limit);
    ways.push({ name: flags.join(" "), who: "Hotset", share, limit, results: [], run });
  }
  const limit = limitOf(PEER_SHARE);
  const peers = {
    "Hotset over lmdb": () => trainOver("lmdb", scenario, dataset, limit),
    "Hotset over mapped tables": () => trainOver("mapped", scenario, dataset, limit),
    ...(hasTorch ? { "PyTorch over mapped tables": () => pytorch(scenario, dataset, limit) } : {}),
  };
  for (const [who, run] of Object.entries(peers)) {
    const name = `${who}, the limit of ${100 * PEER_SHARE}%`;
    ways.push({ name, who, share: PEER_SHARE, limit, isPeer: true, results: [], run });
  }
  await train(scenario, dataset, []); // leaves the layout, and warms the files
  for (let round = 0; round < ROUNDS; round++) {
    for (const way of ways) way.results.push(await way.run());
    const speeds = ways.map(({ results }) => results[round].failed ?? Math.round(speedOf(results[round])));
    console.error(`${scenario.name}, round ${round + 1}: ${speeds.join(", ")}`);
  }
  const base = inMemory.results.map(speedOf);
  const title = `${scenario.title}, dim ${scenario.dim}, ${bytes(tableBytes)}`;
  for (const { who, share, results } of ways) {
    const ratios = results.map((result, round) => speedOf(result) / base[round]);
    if (share === undefined || results.some(({ failed }) => failed !== undefined)) continue;
    points.push({ model: `${scenario.title}, dim ${scenario.dim}`, way: who!, share, speed: median(ratios) });
  }
  lines.push(...ways.map((way) => rowOf({ ...scenario, title }, way, base, diskReads)));
}
const text = [
  `Samples/s of one rank, Adagrad, batches of ${count(BATCH_SIZE)}, ${EPOCHS} epochs of generated clicks; ` +
  `${ROUNDS === 1 ? "one round" : `medians of ${ROUNDS} rounds in turn`}. ${processor()}; the disk reads ${
    count(diskReads)
  } random pages of 4 KiB a second, ${READ_DEPTH} at a time, and rows are read as many at a time. Sizes are ` +
  `those of rows with their state; a limit is that of the control group, page cache included.`,
  "",
  ...[HEAD, HEAD.map((_, i) => i < 2 ? "---" : "---:"), ...lines].map((line) => `| ${line.join(" | ")} |`),
].join("\n");
console.log(text);
if (Deno.args.includes("--write")) {
  Deno.writeTextFileSync(new URL("../../docs/memory.svg", import.meta.url), memoryPlot(points) + "\n");
  for (const page of ["README.md", "docs/tiers.md"]) {
    const picture = `![Speed by memory for the rows](${page === "README.md" ? "docs/" : ""}memory.svg)`;
    writeTable(page, "bench:memory", `${text}\n\n${picture}`);
  }
}
