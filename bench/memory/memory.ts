/**
 * Training within less memory, beside training in memory: samples a second by the budget, each run in a control group that
 * holds it to its budget, and PyTorch over memory-mapped tables in the same. Measures first what the disk can do.
 *
 *     deno task bench:memory [--write] [scenario...]
 *
 * The limit of a run is the peak of the same run with tiny tables plus the share of the bytes of rows and their state.
 * Without root there are no limits, and it says so. `--write` puts the table into docs/tiers.md and README.md. ROUNDS
 * rounds (3), in which all ways take turns. Data is generated, once, under hotset/bench.
 */
import { join } from "node:path";
import { Dataset } from "../../src/dataset/dataset.ts";
import { generateDataset } from "../../src/dataset/generate.ts";
import { bytes, count, percent } from "../../src/format.ts";
import { Layout } from "../../src/layout/layout.ts";
import { cacheName, isArtifact } from "../../src/storage/artifact.ts";
import { median } from "../median.ts";
import { writePeerBatches } from "../peers/peer_batches.ts";
import { withTable } from "../peers/peer_table.ts";
import { MemoryGroup } from "./cgroup.ts";

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
const SHARES = [1, 0.25, 0.1];
const EPOCHS = 2;
const BATCH_SIZE = 2048;
const TINY_SCALE = 34_000;
const ROUNDS = Number(Deno.env.get("ROUNDS") ?? 3);
/** PyTorch stops after so many seconds: over mapped tables it may take minutes for a step. */
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

function datasetOf({ samples, scale }: Pick<Scenario, "samples" | "scale">): Dataset {
  const out = join(FOLDER, `clicks-${cacheName("dataset", [samples, scale, "memory"])}`);
  if (isArtifact(out)) return Dataset.open(out);
  return generateDataset(out, { samples, seed: 1, scale, fractions: { validation: 0, test: 0.01 } });
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
    if (layout.body.dataset === dataset.id) writePeerBatches(layout, dataset, data);
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

interface Way {
  readonly name: string;
  readonly limit?: number;
  readonly run: () => Promise<Record<string, unknown>>;
  readonly results: Record<string, unknown>[];
}

const speedOf = (result: Record<string, unknown>) => Number(result.samplesPerSecond ?? NaN);

function machine(): string {
  const cpu = /^model name\s*: (.*)$/m.exec(Deno.readTextFileSync("/proc/cpuinfo"))?.[1];
  return `${navigator.hardwareConcurrency} cores of ${cpu}`;
}

const HEAD = ["model", "memory", "limit", "samples/s", "of in memory (rounds)", "rows fetched, read a step", "reads/s"];

function rowOf({ title }: Scenario, way: Way, base: readonly number[], diskReads: number): string[] {
  const speeds = way.results.map(speedOf);
  const limit = way.limit === undefined ? "" : bytes(way.limit);
  const failed = way.results.find(({ failed }) => failed !== undefined)?.failed;
  if (failed !== undefined) return [title, way.name, limit, `${failed}`, "", "", ""];
  const ratios = speeds.map((speed, round) => speed / base[round]);
  const [least, most] = [Math.min(...ratios), Math.max(...ratios)].map((ratio) => ratio.toFixed(2));
  const result = way.results.at(-1)!;
  const moved = result.moved as { fetched: number; read: number; bytesRead: number } | undefined;
  const steps = Number(result.steps);
  const pages = moved === undefined ? 0 : moved.bytesRead / 4096 / Number(result.seconds);
  return [
    ...[title, way.name, limit, count(median(speeds)), `${median(ratios).toFixed(2)} (${least} to ${most})`],
    moved === undefined ? "" : `${count(moved.fetched / steps)}, ${count(moved.read / steps)}`,
    moved === undefined ? "" : `${count(pages)} pages, ${percent(pages / diskReads)} of the disk's`,
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
for (const scenario of SCENARIOS.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  const dataset = datasetOf(scenario);
  const tiny = await train(scenario, datasetOf({ samples: 40_960, scale: TINY_SCALE }), []);
  const tableBytes = 2 * 4 * scenario.dim * dataset.rows;
  const limitOf = (share: number) => Number(tiny.peakRssBytes) + share * tableBytes;
  const inMemory: Way = { name: "in memory, no limit", results: [], run: () => train(scenario, dataset, []) };
  const ways: Way[] = [inMemory];
  for (const share of SHARES) {
    const limit = limitOf(share);
    const flags = ["--memory", `${100 * share}%`];
    ways.push({ name: flags.join(" "), limit, results: [], run: () => train(scenario, dataset, flags, limit) });
  }
  const least = limitOf(SHARES.at(-1)!);
  if (hasTorch) {
    const name = `PyTorch over mapped tables, the limit of ${100 * SHARES.at(-1)!}%`;
    ways.push({ name, limit: least, results: [], run: () => pytorch(scenario, dataset, least) });
  }
  await train(scenario, dataset, []); // leaves the layout, and warms the files
  for (let round = 0; round < ROUNDS; round++) {
    for (const way of ways) way.results.push(await way.run());
    const speeds = ways.map(({ results }) => results[round].failed ?? Math.round(speedOf(results[round])));
    console.error(`${scenario.name}, round ${round + 1}: ${speeds.join(", ")}`);
  }
  const base = inMemory.results.map(speedOf);
  const title = `${scenario.title}, dim ${scenario.dim}, ${bytes(tableBytes)}`;
  lines.push(...ways.map((way) => rowOf({ ...scenario, title }, way, base, diskReads)));
}
const text = [
  `Samples/s of one rank, Adagrad, batches of ${count(BATCH_SIZE)}, ${EPOCHS} epochs of generated clicks; ` +
  `${ROUNDS === 1 ? "one round" : `medians of ${ROUNDS} rounds in turn`}. ${machine()}; the disk reads ${
    count(diskReads)
  } random pages of 4 KiB a second. Sizes are ` +
  `those of rows with their state; a limit is that of the control group, page cache included.`,
  "",
  ...[HEAD, HEAD.map((_, i) => i < 2 ? "---" : "---:"), ...lines].map((line) => `| ${line.join(" | ")} |`),
].join("\n");
console.log(text);
if (Deno.args.includes("--write")) {
  for (const page of ["README.md", "docs/tiers.md"]) {
    const path = new URL(`../../${page}`, import.meta.url);
    Deno.writeTextFileSync(path, withTable(Deno.readTextFileSync(path), text, "bench:memory"));
    await new Deno.Command(Deno.execPath(), { args: ["fmt", "--quiet", path.pathname] }).output();
  }
}
