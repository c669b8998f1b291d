/**
 * Compares the training speed of two commits: the same runs of the kaggle model on the same generated data, alternately,
 * and the ratio of samples/s in each round.
 *
 *     deno task bench:commits BEFORE [AFTER]      AFTER: default the working tree; ROUNDS rounds (5)
 *
 * Both must understand the command lines below and read the dataset that BEFORE generates, as every commit since 0.1
 * (545862b) does. OpenBLAS multiplies matrices in both. Data is in a temporary directory.
 */
import Table from "cli-table3";
import { join } from "node:path";
import { inCheckout } from "../tools/checkout.ts";
import { median } from "./median.ts";

const ROUNDS = Number(Deno.env.get("ROUNDS") ?? 5);
const SAMPLES = Number(Deno.env.get("SAMPLES") ?? 400_000);
const DATA = ["--preset", "kaggle", "--samples", String(SAMPLES), "--scale", "10", "--quiet"];
/** The training of each row of the table. Evaluations and checkpoints happen at the end alone. */
const RUNS: Readonly<Record<string, string>> = {
  "cpu, SGD": "--mode cpu --optimizer sgd --learning-rate 0.1 --batch-size 2048",
  "cpu, Adagrad": "--mode cpu --optimizer adagrad --learning-rate 0.02 --batch-size 2048",
  "cpu, SGD, batches of 128": "--mode cpu --optimizer sgd --learning-rate 0.1 --batch-size 128",
  "fae, SGD": "--mode fae --device cpu --hot-memory 64MiB --optimizer sgd --learning-rate 0.1 --batch-size 2048",
};

/** Runs a command line of a checkout, and returns its output. */
async function hotset(checkout: string, cwd: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", join(checkout, "cli.ts"), ...args],
    cwd,
    env: { NO_COLOR: "1", HOTSET_ONEDNN: "none" },
    stdin: "null",
  }).output();
  if (code !== 0) throw new Error(`${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

/** Samples/s of a run. */
async function speed(checkout: string, place: string, run: string): Promise<number> {
  const flags = [...run.split(" "), "--preset", "kaggle", "--out", "run", "--json", "--quiet"];
  const lines = (await hotset(checkout, place, ["train", join(place, "..", "clicks"), ...flags])).trim().split("\n");
  Deno.removeSync(join(place, "run"), { recursive: true });
  return lines.map((line) => JSON.parse(line)).find(({ event }) => event === "result").samplesPerSecond;
}

async function compare(before: string, after: string): Promise<void> {
  const home = Deno.makeTempDirSync();
  try {
    const places = ["before", "after"].map((name) => join(home, name)); // each with its own layouts
    for (const place of places) Deno.mkdirSync(place);
    await hotset(before, home, ["generate", ...DATA, "--out", "clicks"]);
    const table = new Table({ head: ["run", "before", "after", "ratio", "range"], style: { head: [], border: [] } });
    for (const [name, run] of Object.entries(RUNS)) {
      const speeds: [before: number, after: number][] = [];
      for (let round = 0; round < ROUNDS; round++) {
        speeds.push([await speed(before, places[0], run), await speed(after, places[1], run)]);
      }
      const ratios = speeds.map(([a, b]) => b / a).sort((a, b) => a - b);
      const [a, b] = [0, 1].map((side) => Math.round(median(speeds.map((pair) => pair[side]))).toLocaleString("en"));
      table.push([name, a, b, median(ratios).toFixed(3), `${ratios[0].toFixed(3)} to ${ratios.at(-1)!.toFixed(3)}`]);
    }
    console.log(table.toString());
  } finally {
    Deno.removeSync(home, { recursive: true });
  }
}

if (import.meta.main) {
  const [before, after] = Deno.args;
  if (before === undefined) {
    console.error("error: name the commit to compare with, as in: deno task bench:commits HEAD~1");
    Deno.exit(2);
  }
  await inCheckout(before, (first) => inCheckout(after, (second) => compare(first, second)));
}
