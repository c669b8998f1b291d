/**
 * The same run with ranks as threads of one process and as processes of each MPI library, alternately: samples/s, and
 * the ratio to the threads of the same round. The kaggle model on generated data.
 *
 *     deno run -A bench/mpi_beside_shared.ts --rounds 5
 */
import Table from "cli-table3";
import { parseArgs } from "node:util";
import { generateDataset } from "../src/dataset/generate.ts";
import type { ProgressEvent } from "../src/events/events.ts";
import { LAUNCHERS, type MpiOutcome, runMpi } from "../tests/support/mpirun.ts";
import { median } from "./median.ts";

const CLI = new URL("../cli.ts", import.meta.url);
const PRINT_FREQ = 25;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    ranks: { type: "string", default: "2" },
    samples: { type: "string", default: "409600" },
    epochs: { type: "string", default: "2" },
    "batch-size": { type: "string", default: "2048" },
  },
});
const ranks = Number(values.ranks);

/** A way to run, with its name. */
interface Way {
  readonly name: string;
  run(args: string[]): Promise<MpiOutcome>;
}

async function runThreads(args: string[]): Promise<MpiOutcome> {
  const options = { args: ["run", "-A", "--no-check", CLI.pathname, ...args, "--ranks", `${ranks}`] };
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), options).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

const found = LAUNCHERS.filter(({ name, mpirun, skipped }) => {
  if (mpirun === undefined) console.error(`${name} is left out${skipped}`);
  return mpirun !== undefined;
});
const ways: Way[] = [
  { name: "threads", run: runThreads },
  ...found.map((launcher) => ({
    name: launcher.name,
    run: (args: string[]) => runMpi(launcher, [ranks], CLI, [...args, "--collective", "mpi"]),
  })),
];

/** Median samples/s between the progress events of a run, without the first, which includes warm-up. */
async function train({ name, run }: Way, round: number): Promise<number> {
  const { code, stdout, stderr } = await run([
    ...["train", "clicks", "--preset", "kaggle", "--mode", "fae", "--hot-memory", "24MiB"],
    ...["--batch-size", values["batch-size"], "--epochs", values.epochs, "--print-freq", `${PRINT_FREQ}`],
    ...["--out", `run-${name}-${round}`.replace(" ", "-"), "--no-save", "--json", "--quiet"],
  ]);
  if (code !== 0) throw new Error(`${name}: ${stderr}`);
  const lines = stdout.trim().split("\n").map((line) => JSON.parse(line));
  const progress: ProgressEvent[] = lines.filter(({ event }) => event === "progress");
  return median(progress.slice(1).map(({ samplesPerSecond }) => samplesPerSecond));
}

const sorted = (numbers: number[]) => numbers.toSorted((a, b) => a - b);

const folder = Deno.makeTempDirSync();
const before = Deno.cwd();
Deno.chdir(folder); // profiles and layouts are stored here too
try {
  const fractions = { validation: 0, test: 0.01 };
  await generateDataset("clicks", { shape: "kaggle", samples: Number(values.samples), seed: 1, scale: 10, fractions });
  const rates: number[][] = ways.map(() => []);
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [w, way] of ways.entries()) rates[w].push(await train(way, round));
  }
  const table = new Table({
    head: [`${ranks} ranks`, "samples/s, median", "of the threads' in its round: median", "range"],
  });
  for (const [w, { name }] of ways.entries()) {
    const ratios = sorted(rates[w].map((rate, round) => rate / rates[0][round]));
    const range = `${ratios[0].toFixed(3)} to ${ratios.at(-1)!.toFixed(3)}`;
    table.push([name, Math.round(median(rates[w])).toLocaleString("en"), median(ratios).toFixed(3), range]);
  }
  console.log(table.toString());
} finally {
  Deno.chdir(before);
  Deno.removeSync(folder, { recursive: true });
}
