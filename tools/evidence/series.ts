/** The long series whose results docs report: the commands of each, and how their output becomes a row of a table. */

/** Result of a command. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly seconds: number;
}

/** A part of a series, which is run and stored as a whole. */
export interface Part {
  /** Text of the first column. */
  readonly name: string;
  /** Arguments of deno. */
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Further columns. */
  row(ended: Ended): string[];
}

/** A table of docs. */
export interface Series {
  readonly name: string;
  /** Path of the page with the table, from the root of the project. */
  readonly page: string;
  readonly columns: readonly string[];
  readonly parts: readonly Part[];
}

/** Tests of the default suite that compute products. */
const COMPUTING = [
  ...["test", "-A", "--parallel", "--ignore=tests/**/*_slow_test.ts"],
  ...["backend", "checkpoint", "golden", "interop", "loop", "model", "optimizer", "ranks", "run", "schedule"].map((
    folder,
  ) => `tests/${folder}`),
];
const minutes = (seconds: number) => `${(seconds / 60).toFixed(1)} min`;

/** Counts in the last line of a test run. */
function testCounts({ code, stdout, seconds }: Ended): string[] {
  const summary = stdout.split("\n").findLast((line) => /^(ok|FAILED) \| /.test(line)) ?? "";
  const number = (what: string) => new RegExp(`(\\d+) ${what}`).exec(summary)?.[1] ?? "0";
  return [number("passed"), code === 0 ? "0" : number("failed"), number("ignored"), minutes(seconds)];
}

/** Settings that prevent a library from being found. */
const NO_OPENBLAS = { HOTSET_OPENBLAS: "none" }, NO_ONEDNN = { HOTSET_ONEDNN: "none" };

/**
 * Libraries of matrix products. OpenBLAS replaces kernels that the processor does not support, which is not an error.
 */
const KERNELS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "OpenBLAS, kernels for this processor": NO_ONEDNN,
  "OpenBLAS, Sandybridge (AVX)": { ...NO_ONEDNN, OPENBLAS_CORETYPE: "Sandybridge" },
  "OpenBLAS, Haswell (AVX2)": { ...NO_ONEDNN, OPENBLAS_CORETYPE: "Haswell" },
  "OpenBLAS, Zen (AVX2)": { ...NO_ONEDNN, OPENBLAS_CORETYPE: "Zen" },
  "OpenBLAS, SkylakeX (AVX-512)": { ...NO_ONEDNN, OPENBLAS_CORETYPE: "SkylakeX" },
  "oneDNN": NO_OPENBLAS,
  "ONNX Runtime": { ...NO_OPENBLAS, ...NO_ONEDNN },
  "WASM alone": { ...NO_OPENBLAS, ...NO_ONEDNN, HOTSET_ONNXRUNTIME: "none" },
};

/** Tests that the place of rows changes no bit, by what they test: arguments of deno. */
const ROW_TESTS: Readonly<Record<string, readonly string[]>> = {
  "100,000 look-ahead plans beside serial execution": testsIn("embedding/plan_test.ts"),
  "5 optimizers × look-ahead 0, 1, 8 × budgets of 2 to 100 %; 1,000 random schedules": testsIn(
    "embedding/cached_test.ts",
  ),
  "whole runs: other memory, ranks, interrupts, `--from`, checkpoints": testsIn(
    ...["run/memory_test.ts", "run/memory_ranks_slow_test.ts", "run/row_checkpoints_test.ts"],
    "ranks/mpi_rows_slow_test.ts",
  ),
  ...onDevices("a device, 500 runs of each", "ranks/device_cached_test.ts", 1),
  ...onDevices("each of 1 to 4 devices, 100 runs of each", "ranks/device_cached_ranks_slow_test.ts", 4),
};

function testsIn(...files: string[]): string[] {
  return ["test", "-A", ...files.map((file) => `tests/${file}`)];
}

/** Runs with rows cached on devices, on the emulated device and with the stand-in CUDA library. */
function onDevices(where: string, file: string, devices: number): Record<string, readonly string[]> {
  const name = `rows cached on ${where}: all others in memory, or on disk`;
  const standIn = ["run", "-A", "tools/with_standin.ts", "--devices", `${devices}`, "--delay", "200", "--"];
  return {
    [`${name}; emulated`]: testsIn(file),
    [`${name}; stand-in CUDA library with random delays`]: [...standIn, ...testsIn(file)],
  };
}

/** Result of `tools/faults.ts` for one kind of fault. */
function faultCounts(kind: string) {
  return ({ code, stdout, seconds }: Ended): string[] => {
    if (!stdout.startsWith("{")) return [`ended with status ${code}`, "", minutes(seconds)];
    const report = JSON.parse(stdout)[kind];
    const injected = typeof report.kills === "number"
      ? report.kills
      : Object.values(report.injected as Record<string, number>).reduce((sum, count) => sum + count, 0);
    return [report.skipped ?? `${injected}`, `${report.faults.length}`, minutes(seconds)];
  };
}

/** Result of `tools/evidence/demo_seeds.ts`. */
function demoFigures({ code, stdout, seconds }: Ended): string[] {
  if (!stdout.startsWith("{")) return [`ended with status ${code}`, "", "", "", minutes(seconds)];
  const { runs, least, mean, deviation, dead } = JSON.parse(stdout);
  return [`${runs}`, least.toFixed(4), `${mean.toFixed(4)} ± ${deviation.toFixed(4)}`, `${dead}`, minutes(seconds)];
}

function faults(name: string, kind: string, flags: readonly string[]): Part {
  const none = ["--kills", "0", "--corruptions", "0", "--rank-kills", "0", "--row-kills", "0"];
  return { name, args: ["run", "-A", "tools/faults.ts", ...none, ...flags], row: faultCounts(kind) };
}

/** All series in the order in which they run. */
export const SERIES: readonly Series[] = [
  {
    name: "kernels",
    page: "docs/reliability.md",
    columns: ["matrix products", "passed", "failed", "skipped", "time"],
    parts: Object.entries(KERNELS).map(([name, env]) => ({
      name,
      args: COMPUTING,
      env,
      row: testCounts,
    })),
  },
  {
    name: "series",
    page: "docs/reliability.md",
    columns: ["tests, with series of full length", "passed", "failed", "skipped", "time"],
    parts: ["tests/fuzz", "tests/dataset"].map((folder) => ({
      name: `\`${folder}\``,
      args: ["test", "-A", folder],
      env: { HOTSET_SERIES: "evidence" },
      row: testCounts,
    })),
  },
  {
    name: "rows",
    page: "docs/tiers.md",
    columns: ["rows on a disk", "passed", "failed", "skipped", "time"],
    parts: Object.entries(ROW_TESTS).map(([name, args]) => ({
      name,
      args,
      env: { HOTSET_SERIES: "evidence" },
      row: testCounts,
    })),
  },
  {
    name: "faults",
    page: "docs/reliability.md",
    columns: ["injected", "count", "faults", "time"],
    parts: [
      faults("processes killed, seed 31", "kills", ["--kills", "200", "--seed", "31"]),
      faults("files corrupted, seed 32", "corruptions", ["--corruptions", "500", "--seed", "32"]),
      faults("ranks killed, seed 33", "rankKills", ["--rank-kills", "20", "--seed", "33"]),
      faults("runs with rows on disk killed, seed 34", "rowKills", ["--row-kills", "100", "--seed", "34"]),
    ],
  },
  {
    name: "demo",
    page: "docs/reliability.md",
    columns: ["mode", "runs", "lowest AUC", "mean ± sd", "dead", "time"],
    parts: ["cpu", "fae"].map((mode) => ({
      name: mode,
      args: ["run", "-A", "tools/evidence/demo_seeds.ts", "--mode", mode, "--seeds", "50"],
      row: demoFigures,
    })),
  },
];
