/**
 * Trains on two hosts with a slow network: two network namespaces of this machine, connected by a link of limited
 * bandwidth (tc tbf) and, in some runs, with a delay (delayed_wire.py). Prints samples/s with and without prefetching
 * the rows of the next batch, and the bytes on the link. One rank on each host.
 *
 *     deno run -A bench/slow_network.ts          # as root; needs ip, tc, Open MPI and, for delays, python3
 *
 * Open MPI may not use shared memory, and the counters of the interface verify that all traffic used the link.
 */
import Table from "cli-table3";
import { parseArgs } from "node:util";
import { LAUNCHERS } from "../tests/support/mpirun.ts";
import { SHRUNK, type Shrunk, shrunkModel } from "./shrunk_model.ts";
import type { Measured } from "./slow_network_rank.ts";

/** A wire between two hosts; `rounds` of measurements, fewer if steps take long. */
interface Network {
  /** Gbit/s in each direction; undefined for no limit. */
  readonly bandwidth?: number;
  /** Milliseconds from one host to the other, in addition to the latency of this machine. */
  readonly delay: number;
  readonly rounds: number;
}

const NETWORKS: readonly Network[] = [
  { delay: 0, rounds: 3 },
  { bandwidth: 10, delay: 0, rounds: 3 },
  { bandwidth: 1, delay: 0, rounds: 3 },
  { bandwidth: 0.3, delay: 0, rounds: 2 },
  { bandwidth: 0.1, delay: 0, rounds: 1 },
  { bandwidth: 1, delay: 1, rounds: 3 },
];
const NAMESPACES = ["a", "b"].map((host) => `hotset-${Deno.pid}-${host}`);
const WIRE = "wire";
/** Large frames, as in fast networks. */
const FRAME_BYTES = 9000;
/** Larger than all data in flight between two processes, so that no frame is dropped. */
const QUEUE_BYTES = 16 * 2 ** 20;
const RANK = new URL("slow_network_rank.ts", import.meta.url).pathname;
const ENTER_HOST = new URL("enter_host.sh", import.meta.url).pathname;
const DELAYED_WIRE = new URL("delayed_wire.py", import.meta.url).pathname;

const { values } = parseArgs({
  options: {
    "batch-size": { type: "string", default: "4096" },
    samples: { type: "string", default: "400000" },
    steps: { type: "string", default: "8" },
  },
});
const batchSize = Number(values["batch-size"]);

/** Runs a command to its end. */
function call(command: string, ...args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command(command, { args }).outputSync();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`${command} ${args.join(" ")}: ${decoder.decode(stderr).trim()}`);
  return decoder.decode(stdout);
}

const ip = (...args: string[]) => call("ip", ...args);

function isThere(command: string, flag: string): boolean {
  try {
    call(command, flag);
    return true;
  } catch {
    return false;
  }
}

/** Ends the processes of the hosts and removes the hosts and their wire, if they exist. */
function removeHosts(): void {
  const there = ip("netns", "list");
  for (const name of NAMESPACES.filter((name) => there.includes(name))) {
    for (const process of ip("netns", "pids", name).split("\n").filter(Boolean)) {
      try {
        Deno.kill(Number(process), "SIGKILL");
      } catch {
        // It has already ended.
      }
    }
    ip("netns", "del", name);
  }
}

/**
 * Creates both ends of a wire, each in its namespace. Returns the process that delays frames, if any; the caller ends
 * it.
 */
async function connect({ delay }: Network): Promise<Deno.ChildProcess | undefined> {
  if (delay === 0) {
    const [near, far] = NAMESPACES;
    ip("link", "add", WIRE, "netns", near, "type", "veth", "peer", "name", WIRE, "netns", far);
    return undefined;
  }
  const taps = ["a", "b"].map((host) => `hs${Deno.pid}${host}`);
  const args = [DELAYED_WIRE, ...taps, `${delay}`];
  const process = new Deno.Command("python3", { args, stdin: "piped", stdout: "piped" }).spawn();
  const { done } = await process.stdout.getReader().read();
  if (done) throw new Error("Cannot delay a wire: see above");
  for (const [h, name] of NAMESPACES.entries()) {
    ip("link", "set", taps[h], "netns", name);
    ip("-n", name, "link", "set", taps[h], "name", WIRE);
  }
  return process;
}

/** Waits until the system has detected both ends. */
async function whenUp(name: string): Promise<void> {
  while (!/state (UP|UNKNOWN)/.test(ip("-n", name, "link", "show", WIRE))) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Runs work on two hosts, which exist until it ends. */
async function onHosts<T>(network: Network, work: () => Promise<T>): Promise<T> {
  let wire: Deno.ChildProcess | undefined;
  try {
    for (const name of NAMESPACES) ip("netns", "add", name);
    wire = await connect(network);
    for (const [h, name] of NAMESPACES.entries()) {
      ip("-n", name, "addr", "add", `10.77.0.${h + 1}/24`, "dev", WIRE);
      ip("-n", name, "link", "set", WIRE, "mtu", `${FRAME_BYTES}`, "up");
      ip("-n", name, "link", "set", "lo", "up");
      // The default, which never drops a frame and so never slows down.
      ip("netns", "exec", name, "sh", "-c", "echo reno > /proc/sys/net/ipv4/tcp_congestion_control");
      if (network.bandwidth === undefined) continue;
      const bits = network.bandwidth * 1e9;
      const burst = Math.max(FRAME_BYTES + 1000, Math.round(bits / 8 / 4000)); // a quarter of a millisecond
      const limits = ["rate", `${bits}bit`, "burst", `${burst}`, "limit", `${QUEUE_BYTES}`];
      call("tc", "-n", name, "qdisc", "add", "dev", WIRE, "root", "tbf", ...limits);
    }
    for (const name of NAMESPACES) await whenUp(name);
    return await work();
  } finally {
    wire?.kill("SIGKILL");
    await wire?.status;
    removeHosts();
  }
}

/** Starts a rank on each host: mpirun on the first, which reaches the other like another machine. */
async function measure(mpirun: string, args: string[]): Promise<Measured> {
  const over = (name: string) => ["--mca", `${name}_if_include`, WIRE];
  const [near] = NAMESPACES;
  const ranks = NAMESPACES.map((name, h) => [
    ...["-n", "1", "--host", h === 0 ? "localhost" : name, "-x", `HOTSET_HOST=${name}`],
    ...[Deno.execPath(), "run", "-A", "--no-check", RANK, ...args],
  ]);
  const { code, stdout, stderr } = await new Deno.Command("ip", {
    args: [
      ...["netns", "exec", near, mpirun, "--mca", "plm_rsh_agent", ENTER_HOST, ...over("oob_tcp")],
      ...["--mca", "pml", "ob1", "--mca", "btl", "tcp,self", ...over("btl_tcp")],
      ...["--bind-to", "none"], // otherwise each host would use the first core
      ...[...ranks[0], ":", ...ranks[1]],
    ],
    env: { NO_COLOR: "1", OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1" },
  }).output();
  const decoder = new TextDecoder();
  if (code !== 0) throw new Error(decoder.decode(stderr));
  return JSON.parse(decoder.decode(stdout));
}

/** Measures a model on all networks and returns the rows of the table. */
async function measureAll(mpirun: string, networks: readonly Network[], shrunk: Shrunk): Promise<string[][]> {
  const folder = Deno.makeTempDirSync();
  try {
    const { tableRows, layoutOf } = await shrunkModel(folder, shrunk, Number(values.samples));
    using layout = await layoutOf(batchSize, shrunk.hotMemory);
    const rows: string[][] = [];
    for (const network of networks) {
      const { bandwidth, delay, rounds } = network;
      const args = [layout.directory, JSON.stringify(tableRows), shrunk.preset, values.steps, `${rounds}`, WIRE];
      const { barrier, steps } = await onHosts(network, () => measure(mpirun, args));
      for (const kind of new Set(steps.map(({ kind }) => kind))) {
        const [without, overlapped] = [false, true].map((overlap) =>
          steps.find((way) => way.kind === kind && way.overlap === overlap)!
        );
        const rate = (seconds: number) => Math.round(batchSize / seconds).toLocaleString("en");
        rows.push([
          ...[shrunk.preset, bandwidth === undefined ? "no limit" : `${bandwidth} Gbit/s`, `${delay} ms`],
          ...[(1000 * barrier).toFixed(2), kind],
          ...[(overlapped.countedBytes / 1e6).toFixed(2), (overlapped.wireBytes / 1e6).toFixed(2)],
          (overlapped.wireBytes / 2 / overlapped.seconds / 1e6).toFixed(1),
          ...[rate(without.seconds), rate(overlapped.seconds), (without.seconds / overlapped.seconds).toFixed(2)],
        ]);
      }
    }
    return rows;
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

const { mpirun, skipped } = LAUNCHERS.find(({ name }) => name === "Open MPI")!;
const missing = Deno.uid() !== 0
  ? "making network namespaces takes root"
  : !isThere("ip", "-V") || !isThere("tc", "-V")
  ? "no ip or tc: apt-get install iproute2"
  : mpirun === undefined
  ? `no Open MPI${skipped}`
  : undefined;
if (mpirun === undefined || missing !== undefined) {
  console.error(`Nothing is measured: ${missing}`);
  Deno.exit(0);
}
const canDelay = isThere("python3", "--version");
if (!canDelay) console.error("Networks with a delay are left out: no python3");
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => {
    removeHosts();
    Deno.exit(1);
  });
}
const networks = NETWORKS.filter(({ delay }) => delay === 0 || canDelay);
const table = new Table({
  head: [
    ...["shape", "bandwidth", "delay", "barrier, ms", "batches", "MB a step, counted", "on the wire", "MB/s each way"],
    ...["samples/s without", "with overlap", "ratio"],
  ],
});
for (const shrunk of SHRUNK) table.push(...await measureAll(mpirun, networks, shrunk));
console.log(table.toString());
