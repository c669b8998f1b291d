/** Runs commands: reports, signals, processes of mpirun, errors as one line. */
import process from "node:process";
import { type MpiWorld, openWorld } from "../src/parallel/mpi_world.ts";
import { onSharedDisk } from "../src/parallel/shared_disk.ts";
import { mpirunProcesses } from "../src/parallel/mpi_finding.ts";
import { codeOf, firstError, UsageError } from "../src/errors.ts";
import { Terminal } from "../src/report/terminal.ts";
import { ALONE } from "../src/parallel/host_group.ts";
import { PeerFailed, type ProcessGroup } from "../src/parallel/process_group.ts";
import type { Report } from "../src/events/events.ts";
import { Interrupt } from "./interrupt.ts";
import type { Common, GroupFlags } from "./common_options.ts";

/** An event as a line of --json, with its time. */
export function eventLine<E extends { readonly event: string }>(event: E): string {
  return JSON.stringify({ ...event, time: new Date().toISOString() });
}

/** Runs a command with its reporter, and prints errors as one line. */
export async function run(
  common: Common,
  work: (report: Report, atEnd: DisposableStack, interrupt: Interrupt) => Promise<void> | void,
): Promise<void> {
  using atEnd = new DisposableStack();
  using terminal = new Terminal();
  using interrupt = new Interrupt();
  // Before training, mpirun ends the processes that it started.
  if ((common.collective ?? "shared") === "shared") interrupt.watch();
  const report: Report = (event) => {
    if (event.event === "stage") interrupt.check();
    if (common.json && event.event !== "stage" && event.event !== "note") console.log(eventLine(event));
    if (!common.quiet) terminal.report(event);
  };
  try {
    await work(report, atEnd, interrupt);
  } catch (error) {
    terminal.clear();
    fail(error, common, interrupt.exitCode);
  }
}

/**
 * Joins the processes that mpirun started; the first one reports. A failure on one ends all. They exit `atEnd`, after
 * the failed one has reported its error: the launcher ends all processes as soon as one exits with an error.
 */
export async function inWorld(
  common: Common,
  report: Report,
  atEnd: DisposableStack,
  work: (report: Report, world: MpiWorld) => Promise<void>,
): Promise<void> {
  const world = atEnd.use(openWorld());
  try {
    await work(world.rank === 0 ? report : () => {}, world);
  } catch (error) {
    process.exitCode = 1;
    if (error instanceof PeerFailed) return;
    if (error === world.failure) throw error;
    fail(error, common, 1, `rank ${world.rank}: `);
    world.abort(error);
  }
}

/** Throws if mpirun started several processes of a command that must run alone. */
export function expectOneProcess(): void {
  const processes = mpirunProcesses();
  if (processes === 1) return;
  throw new UsageError(
    `Cannot run as one of ${processes} processes that would repeat the same work: add --collective mpi, or start one`,
  );
}

/** Runs work that creates files in some directories: here, or divided among the processes that mpirun started. */
export async function runAsGroup(
  flags: GroupFlags & Common,
  directories: readonly string[],
  work: (report: Report, group: ProcessGroup, interrupt: Interrupt) => Promise<void> | void,
): Promise<void> {
  await run(flags, async (report, atEnd, interrupt) => {
    if (flags.collective === "shared") {
      expectOneProcess();
      return await work(report, ALONE, interrupt);
    }
    await inWorld(
      flags,
      report,
      atEnd,
      (report, world) => onSharedDisk(world, directories, (group) => work(report, group, interrupt)),
    );
  });
}

/** Prints an error in one line, the rest of a long message below it, and with --json as an object on stdout too. */
export function fail(thrown: unknown, { json, verbose }: Partial<Common>, signalled = 1, who = ""): void {
  const error = firstError(thrown);
  const code = codeOf(error);
  const hint = error instanceof Deno.errors.NotCapable ? "; SECURITY.md lists what each command needs" : "";
  const message = `${who}${error instanceof Error ? error.message : error}${hint}`;
  console.error(`${code === "interrupted" ? "" : "error: "}${message}`);
  if (json) console.log(eventLine({ event: "error", code, message }));
  if (verbose) console.error(thrown);
  else if (code === "defect") {
    console.error("This is a bug in Hotset; run again with --verbose for a stack trace.");
  }
  process.exitCode = code === "usage" ? 2 : code === "interrupted" ? signalled : 1;
}
