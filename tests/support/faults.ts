/** Injects faults into whole pipelines and artifacts: killed processes, corrupted files, a full disk. */
import { basename } from "node:path";
import { Dataset } from "../../src/dataset/dataset.ts";
import { SavedEncoding } from "../../src/dataset/dataset_encoding.ts";
import { HotsetError } from "../../src/errors.ts";
import { Batch } from "../../src/layout/batch.ts";
import { BATCH_KINDS, Layout } from "../../src/layout/layout.ts";
import { Profile } from "../../src/profile/profile.ts";
import { Random } from "../../src/random.ts";
import { Checkpoint } from "../../src/checkpoint/checkpoint.ts";
import { ENCODING, readRun } from "../../src/run/run_record.ts";
import { type Outcome, WIDE_MODEL, Workplace } from "../cli/support.ts";

const SAMPLES = 6000;
const PROFILE_FLAGS = ["--hot-memory", "7MiB", "--optimizer", "adagrad", "--arch-sparse-feature-size", "64"];
/** The commands of a pipeline, in order. */
const STAGES: readonly (readonly string[])[] = [
  ["prepare", "log.tsv", "--out", "data"],
  ["profile", "data", ...PROFILE_FLAGS],
  ["layout", "data", "--batch-size", "64", ...PROFILE_FLAGS],
  [
    ...["train", "data", "--out", "hotset/run", ...WIDE_MODEL, "--hot-memory", "7MiB"],
    ...["--epochs", "3", "--test-freq", "50", "--checkpoint-steps", "20", "--keep", "1"],
  ],
];
const RESUME = ["train", "--resume", "--out", "hotset/run"];
/** Maximum time of each kind of fault, so that hangs are detected. */
const PATIENCE_MS = 60_000;

/** Result of a series of faults. */
export interface FaultReport {
  /** Faults injected, by kind. */
  readonly injected: Record<string, number>;
  /** Failures; empty if there were none. */
  readonly faults: string[];
  readonly seconds: number;
}

/** Receives the completed fraction. */
export type OnProgress = (fraction: number) => void;

class Series {
  readonly injected: Record<string, number> = {};
  readonly faults: string[] = [];
  readonly #begin = performance.now();

  count(kind: string): void {
    this.injected[kind] = (this.injected[kind] ?? 0) + 1;
  }
  report(): FaultReport {
    const { injected, faults } = this;
    return { injected, faults, seconds: Math.round((performance.now() - this.#begin) / 1000) };
  }
}

/** Files of a place with their contents, but for what tells times and places. */
function contents(place: Workplace): Map<string, Uint8Array | undefined> {
  return new Map(
    place.files().map((path) => {
      const told = path.endsWith("/") || path.endsWith("metrics.jsonl") || path.endsWith("run.json");
      return [path, told ? undefined : place.read(path)];
    }),
  );
}

/** Runs the pipeline undisturbed; returns how long each command took, in milliseconds. */
async function runPipeline(place: Workplace): Promise<number[]> {
  await place.log("log.tsv", SAMPLES);
  const times: number[] = [];
  for (const [command, ...args] of STAGES) {
    const begin = performance.now();
    await place.succeed(command, ...args);
    times.push(performance.now() - begin);
  }
  return times;
}

/** Removes all but the log, whose place and time a dataset keeps. */
function clear(place: Workplace): void {
  for (const { name } of Deno.readDirSync(place.path)) {
    if (name !== "log.tsv") Deno.removeSync(place.join(name), { recursive: true });
  }
}

/** Kills commands of pipelines at random moments, as often as asked; see tools/faults.ts. */
export async function runKills(kills: number, seed: number, onProgress?: OnProgress): Promise<FaultReport> {
  const series = new Series();
  if (kills === 0) return series.report();
  const random = new Random(seed);
  using place = new Workplace();
  const times = await runPipeline(place);
  const expected = contents(place);
  for (let done = 0; done < kills;) {
    clear(place);
    for (const [stage, args] of STAGES.entries()) {
      // Training takes most of the time and has most states, so it is hit most often.
      let budget = Math.min(random.below(stage === 3 ? 7 : 2), kills - done);
      for (;;) {
        const begun = place.files().includes("hotset/run/run.json");
        const child = place.start([...(stage === 3 && begun ? RESUME : args), "--quiet"]);
        const kill = budget-- > 0;
        const timer = setTimeout(
          () => killIfRunning(child),
          kill ? random.uniform() * 1.1 * times[stage] : PATIENCE_MS,
        );
        const { signal, success, stderr } = await child.output();
        clearTimeout(timer);
        if (success) break;
        if (kill && signal === "SIGKILL") {
          series.count(args[0]);
          done++;
          onProgress?.(done / kills);
          continue;
        }
        series.faults.push(`${args[0]} ended with ${signal ?? "an error"}: ${new TextDecoder().decode(stderr)}`);
        return series.report();
      }
    }
    for (const fault of differences(contents(place), expected)) series.faults.push(fault);
  }
  return series.report();
}

/** A process that has just ended may not be known to have. */
function killIfRunning(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}

function differences(actual: ReturnType<typeof contents>, expected: typeof actual): string[] {
  const faults: string[] = [];
  for (const path of actual.keys()) if (!expected.has(path)) faults.push(`${path} was left`);
  for (const [path, bytes] of expected) {
    const found = actual.get(path);
    if (!actual.has(path)) faults.push(`${path} is missing`);
    else if (bytes !== undefined && !equal(bytes, found!)) faults.push(`${path} has other bits`);
  }
  return faults;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** Where the artifacts lie, how each is opened, and a command that uses it. */
function artifactsOf(place: Workplace): { path: string; open: () => void; command: string[] }[] {
  const only = (folder: string) => `${folder}/${[...Deno.readDirSync(place.join(folder))][0].name}`;
  const layout = only("hotset/layouts");
  const profile = only("hotset/profiles");
  return [
    { path: "data", open: () => Dataset.open(place.join("data")), command: ["profile", "data", "--out", "p"] },
    { path: profile, open: () => Profile.open(place.join(profile)), command: [...STAGES[2]] },
    { path: layout, open: () => readAll(place.join(layout)), command: RESUME },
    { path: "hotset/run/last", open: () => Checkpoint.open(place.join("hotset/run/last")), command: RESUME },
    {
      path: "hotset/run/best",
      open: () => Checkpoint.open(place.join("hotset/run/best")),
      command: ["evaluate", "hotset/run"],
    },
    {
      path: `hotset/run/${ENCODING}`,
      open: () => SavedEncoding.open(place.join("hotset/run", ENCODING)),
      command: ["evaluate", "hotset/run"],
    },
    { path: "hotset/run", open: () => readRun(place.join("hotset/run")), command: RESUME },
  ];
}

function readAll(directory: string): void {
  using layout = Layout.open(directory);
  const batch = new Batch(layout.shape);
  for (const kind of BATCH_KINDS) for (let i = 0; i < layout.batches(kind); i++) layout.readBatch(kind, i, batch);
}

/** Ways to spoil a file of some bytes; undefined removes it. */
const SPOIL: Record<string, (bytes: Uint8Array, random: Random) => Uint8Array | undefined> = {
  "bit flipped": (bytes, random) => {
    bytes[random.below(bytes.length)] ^= 1 << random.below(8);
    return bytes;
  },
  "cut": (bytes, random) => bytes.subarray(0, random.below(bytes.length)),
  "prolonged": (bytes, random) => {
    const longer = new Uint8Array(bytes.length + 1 + random.below(9));
    longer.set(bytes);
    // Not with white space, which is no damage to JSON: what it says is the same.
    longer.fill(0x21 + random.below(0x100 - 0x21), bytes.length);
    return longer;
  },
  "overwritten": (bytes, random) => {
    const begin = random.below(bytes.length);
    const end = Math.min(bytes.length, begin + 1 + random.below(4096));
    for (let i = begin; i < end; i++) bytes[i] = ~bytes[i];
    return bytes;
  },
  "removed": () => undefined,
};

/** Corrupts artifacts, one file at a time; see tools/faults.ts. */
export async function runCorruptions(
  corruptions: number,
  seed: number,
  onProgress?: OnProgress,
): Promise<FaultReport> {
  const series = new Series();
  if (corruptions === 0) return series.report();
  const random = new Random(seed, 1);
  using place = new Workplace();
  await runPipeline(place);
  const artifacts = artifactsOf(place);
  const kinds = Object.keys(SPOIL);
  for (let i = 0; i < corruptions; i++) {
    const { path, open, command } = artifacts[i % artifacts.length];
    // The log of a run's metrics is read line by line, and has no checksum; an empty file has nothing to spoil.
    const files = [...Deno.readDirSync(place.join(path))].filter(({ isFile, name }) =>
      isFile && name !== "metrics.jsonl" && place.read(`${path}/${name}`).length > 0
    );
    const file = `${path}/${files[random.below(files.length)].name}`;
    const before = place.read(file);
    const kind = kinds[random.below(kinds.length)];
    const spoiled = SPOIL[kind](before.slice(), random);
    // Written anew: the names of a checkpoint share its files.
    Deno.removeSync(place.join(file));
    if (spoiled !== undefined) place.write(file, spoiled);
    const what = `${basename(path)}/${basename(file)}, ${kind}`;
    series.count(kind);
    const fault = i % 10 === 9 ? findFault(await place.run(...command as [string], "--quiet")) : faultOfOpening(open);
    if (fault !== undefined) series.faults.push(`${what}: ${fault}`);
    if (spoiled !== undefined) Deno.removeSync(place.join(file));
    place.write(file, before);
    onProgress?.((i + 1) / corruptions);
  }
  return series.report();
}

function faultOfOpening(open: () => void): string | undefined {
  try {
    open();
    return "taken for right";
  } catch (error) {
    if (!(error instanceof HotsetError)) return `no HotsetError: ${error}`;
    return /^Cannot [^\n]+$/.test(error.message) ? undefined : `not one line: ${error.message}`;
  }
}

/** What is wrong with how a command failed; undefined if it failed as it should. */
function findFault({ code, stderr, stdout }: Outcome): string | undefined {
  if (code === 0) return "taken for right";
  const good = code === 1 && stdout === "" && /^error: Cannot [^\n]+\n$/.test(stderr);
  return good ? undefined : `exit ${code}, ${stderr}${stdout}`;
}

/** Runs commands with a limit on the size of files, as a full disk sets one, and then without. */
export async function runFullDisk(times: number, seed: number, onProgress?: OnProgress): Promise<FaultReport> {
  const series = new Series();
  if (times === 0) return series.report();
  const random = new Random(seed, 2);
  using place = new Workplace();
  await runPipeline(place);
  const expected = contents(place);
  const largest = (stage: number) => {
    const folder = ["data", "hotset/profiles", "hotset/layouts", "hotset/run"][stage];
    return Math.max(
      ...place.files(folder).filter((path) => !path.endsWith("/")).map((path) => place.read(path).length),
    );
  };
  const limits = STAGES.map((_, stage) => Math.floor(largest(stage) / 1024));
  for (let i = 0; i < times;) {
    clear(place);
    for (const [stage, args] of STAGES.entries()) {
      const [command, ...rest] = args;
      const outcome = await place.runLimited(random.below(limits[stage]), command, ...rest, "--quiet");
      const fault = findFault(outcome);
      series.count(command);
      i++;
      onProgress?.(i / times);
      if (fault !== undefined) series.faults.push(`${command}: ${fault}`);
      const resumes = stage === 3 && place.files().includes("hotset/run/run.json");
      await place.succeed(...(resumes ? RESUME : args) as [string]);
    }
    for (const fault of differences(contents(place), expected)) series.faults.push(fault);
  }
  return series.report();
}
