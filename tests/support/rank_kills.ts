/** Kills ranks of MPI training at random moments, and resumes with the command that training printed. */
import { isArtifact } from "../../src/storage/artifact.ts";
import { Random } from "../../src/random.ts";
import { Workplace } from "../cli/support.ts";
import { LAUNCHERS, processesOf, startMpi } from "./mpirun.ts";

const CLI = new URL("../../cli.ts", import.meta.url);
const FLAGS = [
  ...["--collective", "mpi", "--device", "cpu", "--arch-mlp-bot", "13-16-16", "--arch-mlp-top", "16-1"],
  ...["--optimizer", "adagrad", "--learning-rate", "0.02", "--batch-size", "64", "--hot-memory", "2MiB"],
  ...["--epochs", "100", "--checkpoint-steps", "50", "--test-freq", "2000", "--keep", "1"],
];
/** One rank on each of two hosts. */
const RANKS = [1, 1];
/** Maximum delay of a kill after training began, in milliseconds. */
const MAX_DELAY_MS = 1000;
/** Maximum time until the launcher ends after a kill, in milliseconds; longer means that it hangs. */
const PATIENCE_MS = 20_000;

/** Result of killing ranks. */
export interface RankKillReport {
  readonly kills: number;
  /** Kills after which all processes ended by themselves and the resume command had been printed. */
  readonly cleanStops: number;
  /** Resumes after a kill in which the ranks joined; `equalRuns` shows that they completed. */
  readonly resumes: number;
  /** Milliseconds from a kill to the end of the launcher. */
  readonly slowestStopSeconds: number;
  /** Runs that were killed and resumed, and ended with the bits of an undisturbed run. */
  readonly equalRuns: number;
  /** Failures; empty if there were none. */
  readonly faults: string[];
  /** Why nothing was done. */
  readonly skipped?: string;
}

/** A launched training with its output so far. */
class Launched {
  text = "";
  readonly ended: Promise<Deno.CommandStatus>;
  /** Arguments of the command that resumes; undefined if training ended without printing it. */
  readonly command: Promise<string[] | undefined>;
  readonly #child: Deno.ChildProcess;

  constructor(args: readonly string[]) {
    const launcher = LAUNCHERS.find(({ mpirun }) => mpirun !== undefined)!;
    this.#child = startMpi(launcher, RANKS, CLI, args);
    const { promise, resolve } = Promise.withResolvers<string[] | undefined>();
    this.command = promise;
    const read = async (stream: ReadableStream<Uint8Array>) => {
      for await (const part of stream.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)) {
        this.text += part;
        const found = /continue with: .*cli\.ts (train --resume .*)\n/.exec(this.text);
        if (found !== null) resolve(found[1].trim().split(" "));
      }
    };
    this.ended = Promise.all([this.#child.status, read(this.#child.stdout), read(this.#child.stderr)]).then(
      ([status]) => {
        resolve(undefined);
        return status;
      },
    );
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Kills ranks as often as asked; see tools/faults.ts. */
export async function runRankKills(
  kills: number,
  seed: number,
  onProgress?: (fraction: number) => void,
): Promise<RankKillReport> {
  const report = { kills: 0, cleanStops: 0, resumes: 0, slowestStopSeconds: 0, equalRuns: 0, faults: [] as string[] };
  if (kills === 0) return report;
  if (LAUNCHERS.every(({ mpirun }) => mpirun === undefined)) return { ...report, skipped: LAUNCHERS[0].skipped };
  const random = new Random(seed, 3);
  using place = new Workplace();
  await place.log("log.tsv", 6000);
  await place.succeed("prepare", "log.tsv", "--out", "data");
  const trainTo = (out: string) => ["train", place.join("data"), "--out", place.join(out), ...FLAGS];
  const whole = new Launched(trainTo("whole"));
  if (!(await whole.ended).success) return { ...report, faults: [`undisturbed: ${whole.text}`] };
  while (report.kills < kills) {
    const out = `run-${report.kills}`;
    let args = trainTo(out);
    for (let first = true;; first = false) {
      const launched = new Launched(args);
      const command = await launched.command;
      for (let i = 0; first && i < 600 && !isArtifact(place.join(out, "last")); i++) await sleep(50);
      if (!first && command !== undefined) report.resumes++;
      const kill = report.kills < kills;
      if (kill) await Promise.race([launched.ended, sleep(random.uniform() * MAX_DELAY_MS)]);
      const alive = kill ? processesOf(place.join(out)) : [];
      const begin = performance.now();
      if (alive.length > 0) Deno.kill(alive[random.below(alive.length)], "SIGKILL");
      const timer = setTimeout(() => {
        report.faults.push("it hung");
        launched.kill();
      }, kill ? PATIENCE_MS : 10 * PATIENCE_MS);
      const { success } = await launched.ended;
      clearTimeout(timer);
      if (success) break;
      if (alive.length === 0 || command === undefined) {
        return { ...report, faults: [...report.faults, `ended by itself: ${launched.text}`] };
      }
      report.kills++;
      onProgress?.(report.kills / kills);
      const seconds = (performance.now() - begin) / 1000;
      report.slowestStopSeconds = Math.max(report.slowestStopSeconds, seconds);
      for (let i = 0; i < 20 && processesOf(place.join(out)).length > 0; i++) await sleep(50);
      const left = processesOf(place.join(out)).length;
      if (left > 0) report.faults.push(`${left} processes outlived the launcher`);
      else report.cleanStops++;
      args = command;
    }
    const [actual, expected] = [place.bits(`${out}/last`), place.bits("whole/last")];
    const wrong = Object.keys(expected).filter((name) => name.endsWith(".f32")).filter((name) =>
      actual[name]?.length !== expected[name].length || actual[name].some((byte, i) => byte !== expected[name][i])
    );
    if (wrong.length === 0) report.equalRuns++;
    else report.faults.push(`${out}: ${wrong.join(", ")} has other bits`);
  }
  return report;
}
