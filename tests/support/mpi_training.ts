/**
 * Run by mpirun: trains on a dataset, or resumes, as each rank of a cluster does. Arguments: the dataset's directory, the
 * run's, the configuration as JSON; "resume" for the first to resume. Rank 0 prints the result and what was sent.
 */
import { Cluster } from "../../src/collective/cluster.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { Interrupt } from "../../cli/interrupt.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { Interrupted } from "../../src/errors.ts";

const [dataset, out, config] = Deno.args;
const cluster = Cluster.open();
using interrupt = new Interrupt();
const options = { out, report: () => {}, signal: () => interrupt.listen(true), cluster };
try {
  const result = dataset === "resume"
    ? await resumeRun(options)
    : await startRun(JSON.parse(config), Dataset.open(dataset), options);
  const bytes = cluster.bytesSent();
  const { hosts, locals, apartBecause } = cluster;
  if (cluster.first) console.log(JSON.stringify({ ...result, hosts, locals, apartBecause, bytes }));
  cluster[Symbol.dispose]();
} catch (error) {
  if (error instanceof Interrupted) {
    if (cluster.first) console.log(JSON.stringify({ interrupted: error.message }));
    cluster[Symbol.dispose]();
  } else {
    console.error(`rank ${cluster.rank}: ${(error as Error).message}`);
    if (cluster.knows(error)) cluster[Symbol.dispose]();
    else cluster.abort(1);
    Deno.exit(1);
  }
}
