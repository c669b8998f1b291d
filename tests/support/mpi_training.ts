/**
 * Run by mpirun: trains on a dataset or resumes, as one rank. Arguments: directory of the dataset, or "resume"; directory
 * of the run; configuration, or changes of it, as JSON; a step after which the run is interrupted, or ""; a run from whose
 * model it starts. Rank 0 prints the result and the bytes that were sent.
 */
import { openWorld } from "../../src/parallel/mpi_world.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { Interrupt } from "../../cli/interrupt.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { Interrupted } from "../../src/errors.ts";

const [dataset, out, config, last = "", from] = Deno.args;
const world = openWorld();
using interrupt = new Interrupt();
const stop = new AbortController();
const report = (event: RunEvent) => {
  if (last !== "" && event.event === "progress" && event.step >= Number(last)) stop.abort();
};
const signal = () => AbortSignal.any([interrupt.listen(true), stop.signal]);
const options = { out, report, signal, world, ...(from ? { from } : {}) };
try {
  const result = dataset === "resume"
    ? await resumeRun(options, JSON.parse(config ?? "{}"))
    : await startRun(JSON.parse(config), Dataset.open(dataset), options);
  const bytes = world.bytesSent();
  const { node: { size: locals }, peers: { size: hosts }, isolationReason } = world;
  if (world.rank === 0) console.log(JSON.stringify({ ...result, hosts, locals, isolationReason, bytes }));
  world[Symbol.dispose]();
} catch (error) {
  if (error instanceof Interrupted) {
    if (world.rank === 0) console.log(JSON.stringify({ interrupted: error.message }));
    world[Symbol.dispose]();
  } else {
    console.error(`rank ${world.rank}: ${(error as Error).message}`);
    if (error === world.failure) world[Symbol.dispose]();
    else world.abort(error);
    Deno.exit(1);
  }
}
