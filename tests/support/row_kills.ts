/** Kills runs with rows on disk at random moments, resumes them, and compares their checkpoints. */
import { existsSync } from "node:fs";
import { Random } from "../../src/random.ts";
import { Workplace } from "../cli/support.ts";
import { checkpointsOf } from "./checkpoint_words.ts";
import type { FaultReport, OnProgress } from "./faults.ts";

/** Checkpoints are frequent, so that many kills hit one; `best`, `last` and two `step-N` share segments. */
const FLAGS = [
  ...["--arch-mlp-bot", "13-16-64", "--arch-mlp-top", "16-1", "--mode", "cpu", "--batch-size", "64"],
  ...["--optimizer", "adagrad", "--learning-rate", "0.02", "--arch-sparse-feature-size", "64"],
  ...["--epochs", "2", "--test-freq", "30", "--checkpoint-steps", "8", "--keep", "2"],
];
const SAMPLES = 4000;
/** Maximum delay of a kill, as a share of the time of an undisturbed run. */
const LATEST = 0.9;
/** Ranks of the runs, in turn. */
const RANKS = [1, 2];
/** Memory budgets of the processes of a run, in turn. */
const BUDGETS = ["2%", "10%", "40%"];
/** Maximum number of kills of a run. */
const MOST_KILLS = 12;

/**
 * Trains a model within small memory budgets; each process is killed (SIGKILL) at a random moment, and the next one
 * resumes the run within another budget. At the end the checkpoints must equal those of a run in memory, and no files
 * of the killed processes may be left.
 */
export async function runRowKills(kills: number, seed: number, onProgress?: OnProgress): Promise<FaultReport> {
  const begin = performance.now();
  const injected = { train: 0, resume: 0 };
  const faults: string[] = [];
  const report = () => ({ injected, faults, seconds: Math.round((performance.now() - begin) / 1000) });
  if (kills === 0) return report();
  const random = new Random(seed);
  using place = new Workplace();
  await place.log("log.tsv", SAMPLES);
  await place.succeed("prepare", "log.tsv", "--out", "data");
  const commands = RANKS.map((ranks) => ["train", "data", ...FLAGS, "--ranks", `${ranks}`]);
  const expected: string[] = [];
  for (const [i, train] of commands.entries()) {
    await place.succeed(...train, "--out", `plain-${i}`);
    expected.push(JSON.stringify(checkpointsOf(place.join(`plain-${i}`))));
  }
  const started = performance.now();
  await place.succeed(...commands[0], "--out", "run", "--memory", BUDGETS[0]);
  let usual = performance.now() - started;
  for (let done = 0, run = 0; done < kills; run++) {
    const train = commands[run % RANKS.length];
    Deno.removeSync(place.join("run"), { recursive: true });
    for (let left = Math.min(1 + random.below(MOST_KILLS), kills - done), process = 0;; process++) {
      const resumes = existsSync(place.join("run/run.json"));
      const memory = BUDGETS[process % BUDGETS.length];
      const command = resumes ? ["train", "--resume"] : train;
      const child = place.start([...command, "--out", "run", "--memory", memory, "--quiet"]);
      const kill = left-- > 0;
      const at = performance.now();
      const ended = child.output();
      const timer = kill ? setTimeout(() => killIfRunning(child), random.uniform() * LATEST * usual) : undefined;
      const { success, signal, stderr } = await ended;
      clearTimeout(timer);
      if (success) {
        if (kill) usual = performance.now() - at; // the kill came too late
        break;
      }
      if (!kill || signal !== "SIGKILL") {
        faults.push(`a process ended with ${signal ?? "an error"}: ${new TextDecoder().decode(stderr)}`);
        return report();
      }
      injected[resumes ? "resume" : "train"]++;
      done++;
      onProgress?.(done / kills);
    }
    if (JSON.stringify(checkpointsOf(place.join("run"))) !== expected[run % RANKS.length]) {
      faults.push("a checkpoint has other bits");
    }
    const left = [...Deno.readDirSync(place.join("run"))].map(({ name }) => name).filter((name) =>
      name.startsWith(".")
    );
    faults.push(...left.map((name) => `${name} was left`));
  }
  return report();
}

/** Ignores the error for a process that has already ended. */
function killIfRunning(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}
