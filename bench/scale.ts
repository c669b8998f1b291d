/**
 * Times the stages before training on generated logs of any length, each in its own process, with its peak memory:
 * prepare on a raw log, profile (exact and by a sample) and layout on a dataset. Data is stored under hotset/bench.
 *
 *     deno run -A bench/scale.ts prepare 20000000      # 5.3 GB of raw rows
 *     deno run -A bench/scale.ts layout 50000000       # the tables of Criteo Kaggle
 */
import Table from "cli-table3";
import { join } from "node:path";
import { generateDataset, writeCriteoLog } from "../src/dataset/generate.ts";
import { bytes as bytesText } from "../src/format.ts";
import { isArtifact } from "../src/storage/artifact.ts";

const FOLDER = join("hotset", "bench");
const CLI = new URL("../cli.ts", import.meta.url).pathname;
const fractions = { validation: 0, test: 0 };

/** Runs a command of Hotset and returns its seconds and its peak memory. */
async function measure(args: string[]): Promise<{ seconds: number; peakBytes: number }> {
  const begin = performance.now();
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", CLI, ...args, "--quiet"],
    cwd: FOLDER,
    stdout: "null",
  }).spawn();
  let peakBytes = 0;
  const timer = setInterval(() => {
    try {
      const status = Deno.readTextFileSync(`/proc/${child.pid}/status`);
      peakBytes = Math.max(peakBytes, 1024 * Number(/VmHWM:\s*(\d+)/.exec(status)?.[1] ?? 0));
    } catch {
      // The process has ended.
    }
  }, 50);
  const { success } = await child.status;
  clearInterval(timer);
  if (!success) throw new Error(`hotset ${args.join(" ")} failed`);
  return { seconds: (performance.now() - begin) / 1000, peakBytes };
}

async function timePrepare(samples: number): Promise<void> {
  const log = `log-${samples}.tsv`;
  const path = join(FOLDER, log);
  if (!isThere(path)) await writeCriteoLog(path, { samples, seed: 1, fractions });
  const bytes = Deno.statSync(path).size;
  const { seconds, peakBytes } = await measure(["prepare", log, "--out", "prepared"]);
  const table = new Table({ head: ["stage", "raw", "seconds", "MB/s", "peak memory"] });
  table.push([
    "prepare",
    bytesText(bytes),
    seconds.toFixed(1),
    (bytes / 1e6 / seconds).toFixed(0),
    bytesText(peakBytes),
  ]);
  console.log(table.toString());
}

async function timeLayout(samples: number): Promise<void> {
  const dataset = `clicks-${samples}`;
  const path = join(FOLDER, dataset);
  if (!isArtifact(path)) await generateDataset(path, { samples, seed: 1, fractions });
  const table = new Table({ head: ["stage", "seconds", "million samples/s", "peak memory"] });
  const time = async (stage: string, args: string[]) => {
    const { seconds, peakBytes } = await measure(args);
    table.push([stage, seconds.toFixed(1), (samples / 1e6 / seconds).toFixed(2), bytesText(peakBytes)]);
  };
  await time("profile, 5 % sample", ["profile", dataset, "--sample-rate", "5", "--out", "profile"]);
  await time("profile, all counts", ["profile", dataset, "--out", "profile"]);
  await time("profile and layout", ["layout", dataset, "--batch-size", "2048", "--out", "layout"]);
  // `layout` stored the profile where `train` would find it, so it would not be computed again.
  Deno.removeSync(join(FOLDER, "hotset"), { recursive: true });
  console.log(table.toString());
}

function isThere(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

const [stage, samples] = [Deno.args[0], Number(Deno.args[1])];
if (!["prepare", "layout"].includes(stage) || !(samples > 0)) {
  console.error("Name a stage and a number of samples: prepare 20000000, or layout 50000000");
  Deno.exit(2);
}
Deno.mkdirSync(FOLDER, { recursive: true });
await (stage === "prepare" ? timePrepare : timeLayout)(samples);
