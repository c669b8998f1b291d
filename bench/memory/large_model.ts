/**
 * Trains a model whose tables exceed a budget by one command, in a control group of that budget, and the same model
 * with smaller tables in memory: the terabyte preset with Adagrad on generated clicks, one epoch. Prints the time from
 * the layout to the end of the first step, the speed, the peak memory and the bytes of rows on disk.
 *
 *     deno task bench:large [--write] [SAMPLES] [BUDGET]      # 10000000 6GiB
 *
 * Without root there is no control group, which the output says. `--write` writes the table to docs/tiers.md. Data is
 * generated once, under hotset/bench.
 */
import { join } from "node:path";
import { resolveConfig } from "../../src/config/config.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import type { ResultEvent, RunEvent } from "../../src/events/events.ts";
import { bytes, count, parseBytes } from "../../src/format.ts";
import { cacheName, isArtifact } from "../../src/storage/artifact.ts";
import { markdownTable } from "../../tools/markdown_table.ts";
import { writeTable } from "../../tools/page_table.ts";
import { processor } from "../../tools/processor.ts";
import { MemoryGroup } from "./cgroup.ts";

const FOLDER = join("hotset", "bench");
/** Divides the large tables of the model that is trained in memory. */
const SMALLER = 1000;
const FLAGS = ["--preset", "terabyte", "--optimizer", "adagrad", "--mode", "cpu", "--no-save"];

/** Runs a command of Hotset, in a control group if one is given, and returns what it prints. */
async function hotset(args: readonly string[], group?: MemoryGroup): Promise<string> {
  const words = ["run", "-A", "cli.ts", ...args, "--quiet"];
  const [program, programWords] = group?.within(Deno.execPath(), words) ?? [Deno.execPath(), words];
  const { stdout, code } = await new Deno.Command(program, { args: programWords, stderr: "inherit" }).output();
  if (code !== 0) throw new Error(`hotset ${args.join(" ")} ended with status ${code}`);
  return new TextDecoder().decode(stdout).trim();
}

async function datasetOf(samples: number, scale: number): Promise<Dataset> {
  const out = join(FOLDER, `clicks-${cacheName("dataset", [samples, scale, "terabyte"])}`);
  const flags = ["--preset", "terabyte", "--samples", `${samples}`, "--scale", `${scale}`];
  if (!isArtifact(out)) await hotset(["generate", ...flags, "--out", out]);
  return Dataset.open(out);
}

/** The result of a run of one epoch, and the seconds from its layout to the end of its first step. */
async function train(dataset: Dataset, flags: readonly string[], group?: MemoryGroup) {
  const run = join(FOLDER, "run");
  Deno.mkdirSync(run, { recursive: true });
  Deno.removeSync(run, { recursive: true });
  const common = ["--out", run, "--json", "--print-freq", "1"];
  const lines = (await hotset(["train", dataset.directory, ...FLAGS, ...flags, ...common], group)).split("\n");
  const events = lines.map((line) => JSON.parse(line) as RunEvent & { readonly time: string });
  const timeOf = (name: RunEvent["event"]) => Date.parse(events.find(({ event }) => event === name)!.time);
  const result = events.find((event) => event.event === "result") as ResultEvent;
  return { result, firstStepSeconds: (timeOf("progress") - timeOf("layout")) / 1000 };
}

const [samples = "10000000", budgetText = "6GiB"] = Deno.args.filter((word) => word !== "--write");
const budget = parseBytes(budgetText);
if (budget === undefined) throw new Error(`${budgetText} is not a size`);
Deno.mkdirSync(FOLDER, { recursive: true });
const { dim } = resolveConfig("terabyte");
const made = MemoryGroup.make(budget);
using limit = typeof made === "string" ? undefined : made;
if (limit === undefined) console.error(`SKIPPED: the limit of memory: ${made}`);
const rows = [[
  ...["large tables", "rows", "with their state", "memory", "peak", "first step", "samples/s", "rows in memory"],
  ...["rows read, written", "bytes of rows on disk"],
]];
const models = [
  { name: "whole", scale: 1, flags: ["--memory", budgetText], group: limit },
  { name: `divided by ${SMALLER}`, scale: SMALLER, flags: [], group: undefined },
];
for (const { name, scale, flags, group } of models) {
  const dataset = await datasetOf(Number(samples), scale);
  const { result, firstStepSeconds } = await train(dataset, flags, group);
  const { moved } = result;
  rows.push([
    ...[name, count(dataset.rows), bytes(2 * 4 * dim * dataset.rows), flags[1] ?? "no limit"],
    ...[bytes(result.peakRssBytes), `${firstStepSeconds.toFixed(1)} s`, count(result.samplesPerSecond)],
    ...moved === undefined
      ? ["all", "", ""]
      : [count(moved.slots), `${count(moved.read)}, ${count(moved.written)}`, bytes(moved.diskBytes)],
  ]);
}
const text = `${count(Number(samples))} samples, one epoch of batches of 2,048. ${processor()}.\n\n${
  markdownTable(rows)
}`;
console.log(text);
if (Deno.args.includes("--write")) writeTable("docs/tiers.md", `bench:large ${budgetText}`, text);
