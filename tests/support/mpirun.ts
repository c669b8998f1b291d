/** Starts processes with the mpirun of Open MPI and with that of MPICH. */
import { seriesLength, someOf } from "./series.ts";
import { mpiRequest } from "../../ffi/mpi_library.ts";

/** An mpirun of this machine, or the reason why there is none. */
export interface Launcher {
  readonly name: "Open MPI" | "MPICH";
  /** Path or name of the program; undefined if it is missing. */
  readonly mpirun: string | undefined;
  /** Suffix for names of tests: why they are skipped. */
  readonly skipped: string;
}

/** Both implementations. */
export const LAUNCHERS: readonly Launcher[] = [find("Open MPI"), find("MPICH")];

function find(name: Launcher["name"]): Launcher {
  const mpich = name === "MPICH";
  for (const mpirun of [mpich ? "mpirun.mpich" : "mpirun.openmpi", "mpirun"]) {
    try {
      const { stdout } = new Deno.Command(mpirun, { args: ["--version"], stderr: "null" }).outputSync();
      const found = /open mpi/i.test(new TextDecoder().decode(stdout)) ? "Open MPI" : "MPICH";
      if (found === name) return { name, mpirun, skipped: "" };
    } catch {
      // Not installed under this name.
    }
  }
  const { install } = mpiRequest(mpich);
  return { name, mpirun: undefined, skipped: ` (skipped: no mpirun of ${name}; ${install})` };
}

/** A test with a launcher, which is skipped with the reason in its name if the launcher is missing. */
type LauncherTest = (launcher: Launcher) => void | Promise<void>;

/** The launchers, those first that are there. */
const FOUND_FIRST = LAUNCHERS.toSorted((a, b) => Number(a.mpirun === undefined) - Number(b.mpirun === undefined));

/** Registers a test for each launcher. */
export function testWithEach(name: string, fn: LauncherTest): void {
  for (const launcher of someOf(FOUND_FIRST, LAUNCHERS.length)) register(launcher, name, fn);
}

let turn = 0;

/** Registers a test of what does not depend on the launcher: for one of those that are there, each in its turn. */
export function testInTurn(name: string, fn: LauncherTest): void {
  const found = Math.max(1, FOUND_FIRST.filter(({ mpirun }) => mpirun !== undefined).length);
  const each = seriesLength({ test: 1, all: 1, evidence: found });
  for (let i = 0; i < each; i++) register(FOUND_FIRST[turn++ % found], name, fn);
}

function register(launcher: Launcher, name: string, fn: LauncherTest): void {
  const { mpirun, skipped } = launcher;
  Deno.test({ name: `${launcher.name}: ${name}${skipped}`, ignore: mpirun === undefined, fn: () => fn(launcher) });
}

/** Result of the processes. */
export interface MpiOutcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts a program; `ranks` lists the processes of each simulated host. */
export function startMpi(
  { name, mpirun }: Launcher,
  ranks: readonly number[],
  program: URL,
  args: readonly string[],
  env: Record<string, string> = {},
  cwd = Deno.cwd(),
): Deno.ChildProcess {
  const set = name === "MPICH" ? "-env" : "-x";
  const each = (count: number, host: number) => [
    ...["-n", `${count}`],
    ...(name === "MPICH" ? [set, "HOTSET_HOST", `host-${host}`] : [set, `HOTSET_HOST=host-${host}`]),
    ...[Deno.execPath(), "run", "-A", "--no-check", program.pathname, ...args],
  ];
  const contexts = ranks.map(each).flatMap((context, host) => host === 0 ? context : [":", ...context]);
  return new Deno.Command(mpirun!, {
    args: name === "MPICH" ? contexts : ["--oversubscribe", ...contexts],
    cwd,
    // Open MPI refuses to run as root, which is usual in containers.
    env: { NO_COLOR: "1", OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Runs a program to its end. */
export async function runMpi(...started: Parameters<typeof startMpi>): Promise<MpiOutcome> {
  const { code, stdout, stderr } = await startMpi(...started).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** The processes of `startMpi` with a path among their arguments, without the launcher. */
export function processesOf(path: string): number[] {
  return [...Deno.readDirSync("/proc")].map(({ name }) => Number(name)).filter((process) => {
    if (!(process > 0)) return false;
    try {
      const words = Deno.readTextFileSync(`/proc/${process}/cmdline`).split("\0");
      return words[0] === Deno.execPath() && words.includes(path);
    } catch {
      return false; // it has ended in the meantime
    }
  });
}
