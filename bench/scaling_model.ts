/**
 * Estimates how training scales to 64 hosts from measurements on this machine. Prints the tables of docs/cluster.md:
 * first the estimate compared with runs of four ranks, then the estimate for more hosts. Needs an mpirun.
 *
 *     deno run -A bench/scaling_model.ts --bandwidth 10,25,100 --latency 30
 *
 * A mean step over a batch of B samples, with H hosts of R ranks on C cores each:
 *
 *     seconds = max(1, R / C) (fixed / R + read B + compute B / (H R)) slower + copy bytes + bytes / bandwidth
 *               + latency messages
 *
 * Every rank reads the whole batch and computes its part; the ranks of a host divide the update of dense parameters.
 * `bytes` are those that a host sends (bench/step_bytes.ts, all hosts' divided by H), `messages` H - 1 for each of the
 * exchanges of a step, one after the other. `fixed`, `read` and `compute` are those of one rank alone; `slower` is the
 * slowdown by a second rank on the second core; `copy` is the additional time per byte for packing, sending and adding,
 * measured with two hosts simulated on this machine. Nothing overlaps. Simulated hosts share the cores of this machine
 * and have no network.
 */
import { parseArgs } from "node:util";
import type { ModelPlan } from "../src/model/shape.ts";
import type { Preset } from "../src/config/config.ts";
import { Batch } from "../src/layout/batch.ts";
import { BATCH_KINDS, type BatchKind, type Layout } from "../src/layout/layout.ts";
import { wireBytes } from "./step_bytes.ts";
import { LAUNCHERS, runMpi } from "../tests/support/mpirun.ts";
import { SHRUNK, shrunkModel } from "./shrunk_model.ts";

/** Batch sizes from which `fixed` and the cost per sample are derived; other costs are measured with the larger one. */
const SMALL_BATCH = 512;
const MEASURED_BATCH = 4096;
const HOSTS = [1, 2, 4, 8, 16, 32, 64];
/** Numbers of hosts and ranks that this machine simulates to check the estimate. */
const CHECKED = [[1, 1, 1, 1], [2, 2]];
/** Rounds of messages in a step: two for dense gradients; one each for cold rows and their gradients, or one for hot ones. */
const EXCHANGES: Record<BatchKind, number> = { cold: 4, hot: 3 };
const RANK = new URL("scaling_rank.ts", import.meta.url);

const { values } = parseArgs({
  options: {
    bandwidth: { type: "string", default: "10,25,100" },
    latency: { type: "string", default: "30" },
    ranks: { type: "string", default: `${navigator.hardwareConcurrency}` },
    "batch-size": { type: "string", default: "8192" },
    samples: { type: "string", default: "400000" },
    steps: { type: "string", default: "6" },
  },
});
const bandwidths = values.bandwidth.split(",").map(Number); // Gbit/s
const latency = Number(values.latency) / 1e6;
const ranksOfHost = Number(values.ranks);
const batchSize = Number(values["batch-size"]);
const cores = navigator.hardwareConcurrency;
const launcher = LAUNCHERS.find(({ mpirun }) => mpirun !== undefined);
if (launcher === undefined) {
  console.error(`Cannot measure ranks: no mpirun${LAUNCHERS[0].skipped}`);
  Deno.exit(1);
}

/** Mean over the kinds of batches, weighted by their numbers in a layout. */
function meanOf(layout: Layout, value: (kind: BatchKind) => number): number {
  const total = BATCH_KINDS.reduce((sum, kind) => sum + layout.batches(kind), 0);
  return BATCH_KINDS.reduce((sum, kind) => sum + layout.batches(kind) / total * value(kind), 0);
}

/** A mean step over both kinds: its seconds, the seconds of reading its batch, and the bytes that all hosts send. */
type Step = Record<"seconds" | "reading" | "bytes", number>;

/** Trains on simulated hosts with the given ranks. */
async function measure(layout: Layout, preset: Preset, tableRows: number[], hosts: readonly number[]): Promise<Step> {
  const args = [layout.directory, JSON.stringify(tableRows), preset, values.steps];
  const { code, stdout, stderr } = await runMpi(launcher!, hosts, RANK, args);
  if (code !== 0) throw new Error(stderr);
  const kinds: Partial<Record<BatchKind, Step>> = JSON.parse(stdout);
  const mean = (of: keyof Step) => meanOf(layout, (kind) => kinds[kind]?.[of] || 0);
  return { seconds: mean("seconds"), reading: mean("reading"), bytes: mean("bytes") };
}

/** Mean bytes that all hosts send in a step, by number of hosts. */
function bytesOf(layout: Layout, plan: ModelPlan, ranks: number): Map<number, number> {
  const batch = new Batch(layout.shape);
  const steps = BATCH_KINDS.reduce((sum, kind) => sum + layout.batches(kind), 0);
  const bytes = new Map(HOSTS.map((hosts) => [hosts, 0]));
  for (const kind of BATCH_KINDS) {
    for (let index = 0; index < layout.batches(kind); index++) {
      layout.readBatch(kind, index, batch);
      for (const hosts of HOSTS) {
        if (hosts === 1) continue;
        const { dense, rows, gradients } = wireBytes(batch, plan, hosts, ranks);
        bytes.set(hosts, bytes.get(hosts)! + (dense + rows + gradients) / steps);
      }
    }
  }
  return bytes;
}

const microseconds = (seconds: number) => (1e6 * seconds).toFixed(2);
const checks: string[] = [];
const estimates: string[] = [];
const constants: string[] = [];
for (const shrunk of SHRUNK) {
  const { preset, hotMemory } = shrunk;
  const folder = Deno.makeTempDirSync();
  try {
    const { plan, tableRows, layoutOf } = await shrunkModel(folder, shrunk, Number(values.samples));
    using small = await layoutOf(SMALL_BATCH, hotMemory);
    using measured = await layoutOf(MEASURED_BATCH, hotMemory);
    using large = batchSize === MEASURED_BATCH ? undefined : await layoutOf(batchSize, hotMemory);

    const [few, alone] = [
      await measure(small, preset, tableRows, [1]),
      await measure(measured, preset, tableRows, [1]),
    ];
    const read = alone.reading / MEASURED_BATCH;
    const perSample = (alone.seconds - few.seconds) / (MEASURED_BATCH - SMALL_BATCH);
    const compute = perSample - read;
    const fixed = Math.max(0, few.seconds - SMALL_BATCH * perSample);
    const work = (samples: number, hosts: number, locals: number) =>
      fixed / locals + read * samples + compute * samples / (hosts * locals);
    const pair = await measure(measured, preset, tableRows, [2]);
    const slower = Math.max(1, pair.seconds / work(MEASURED_BATCH, 1, 2));
    const twoHosts = await measure(measured, preset, tableRows, [1, 1]);
    const copy = Math.max(0, (twoHosts.seconds - slower * work(MEASURED_BATCH, 2, 1)) / (twoHosts.bytes / 2));
    constants.push(
      `${preset}: fixed ${microseconds(fixed)} us, read ${microseconds(read)} us and compute ${
        microseconds(compute)
      } us ` +
        `a sample, slower ${slower.toFixed(2)}, copy ${(1e9 * copy).toFixed(2)} ns a byte`,
    );

    for (const hosts of CHECKED) {
      const ranks = hosts.reduce((sum, count) => sum + count);
      const { seconds, bytes } = await measure(measured, preset, tableRows, hosts);
      const shared = Math.max(1, ranks / cores);
      // Hosts that share cores also copy one after the other, each on one core.
      const copies = copy * bytes / Math.min(hosts.length, cores);
      const predicted = shared * slower * work(MEASURED_BATCH, hosts.length, hosts[0]) + copies;
      const rate = (time: number) => Math.round(MEASURED_BATCH / time).toLocaleString("en");
      checks.push(
        `| ${preset} | ${hosts.length} x ${hosts[0]} | ${(bytes / 2 ** 20).toFixed(1)} | ${rate(predicted)} | ` +
          `${rate(seconds)} | ${(predicted / seconds).toFixed(2)} |`,
      );
    }

    const layout = large ?? measured;
    const bytes = bytesOf(layout, plan, ranksOfHost);
    const exchanges = meanOf(layout, (kind) => EXCHANGES[kind]);
    for (const hosts of HOSTS) {
      const ofHost = bytes.get(hosts)! / hosts;
      const crowded = Math.max(1, ranksOfHost / cores) * (ranksOfHost > 1 ? slower : 1);
      const local = crowded * work(batchSize, hosts, ranksOfHost) + copy * ofHost;
      const rates = bandwidths.map((gbit) => {
        const wire = 8 * ofHost / (gbit * 1e9) + latency * exchanges * (hosts - 1);
        return Math.round(batchSize / (local + wire)).toLocaleString("en");
      });
      const reading = `${(100 * crowded * read * batchSize / local).toFixed(0)} %`;
      estimates.push(
        `| ${preset} | ${hosts} | ${hosts * ranksOfHost} | ${(ofHost / 2 ** 20).toFixed(2)} | ${reading} | ${
          rates.join(" | ")
        } |`,
      );
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}
console.log(constants.join("\n"));
console.log(`\nBatches of ${MEASURED_BATCH}, four ranks on ${cores} cores, samples/s:\n`);
console.log("| shape | hosts x ranks | MiB a step, all hosts | predicted | measured | predicted time / measured |");
console.log(`|-|-|-|-|-|-|\n${checks.join("\n")}`);
console.log(`\nBatches of ${batchSize}, ${ranksOfHost} ranks to a host, latency ${values.latency} us, samples/s:\n`);
console.log(
  `| shape | hosts | ranks | MiB a host and step | reading | ${
    bandwidths.map((gbit) => `${gbit} Gbit/s`).join(" | ")
  } |`,
);
console.log(`|${"-|".repeat(5 + bandwidths.length)}\n${estimates.join("\n")}`);
