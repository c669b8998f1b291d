/**
 * Prepares the same raw log with Hotset and with the preprocessing of facebookresearch/dlrm (getCriteoAdData of its
 * data_utils.py, one process for each of its seven files), alternately, and prints the ratio of the times. Needs
 * python3 with NumPy and a checkout: `deno run -A bench/peers/prepare_peer.ts CHECKOUT [SAMPLES]`; default 1,000,000
 * generated samples, ROUNDS rounds (1).
 */
import Table from "cli-table3";
import { join } from "node:path";
import { Dataset } from "../../src/dataset/dataset.ts";
import { writeCriteoLog } from "../../src/dataset/generate.ts";

const ROUNDS = Number(Deno.env.get("ROUNDS") ?? 1);
/** Both take values modulo this number: without that, dlrm's 32-bit numbers overflow with NumPy 2. */
const RANGE = 10_000_000;

const checkout = Deno.args[0];
const samples = Number(Deno.args[1] ?? 1_000_000);
if (checkout === undefined || !(samples > 0)) {
  console.error("Name a checkout of facebookresearch/dlrm: deno run -A bench/peers/prepare_peer.ts CHECKOUT [SAMPLES]");
  Deno.exit(2);
}

const PEER = `
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from data_utils import getCriteoAdData
getCriteoAdData(sys.argv[2] + "/train.txt", "processed", max_ind_range=${RANGE}, randomize="none",
                dataset_multiprocessing=True)
print("")
print(list(map(int, np.load(sys.argv[2] + "/train_fea_count.npz")["counts"])))
`;

/** Runs a command and returns its seconds and the last line of its output. */
async function time(command: string, args: string[], cwd?: string): Promise<{ seconds: number; last: string }> {
  const begin = performance.now();
  const { success, stdout, stderr } = await new Deno.Command(command, { args, ...(cwd ? { cwd } : {}) }).output();
  if (!success) throw new Error(`${command}: ${new TextDecoder().decode(stderr)}`);
  const seconds = (performance.now() - begin) / 1000;
  return { seconds, last: new TextDecoder().decode(stdout).trim().split("\n").at(-1)! };
}

const folder = Deno.makeTempDirSync({ prefix: "hotset-bench-" });
try {
  const log = join(folder, "train.txt");
  await writeCriteoLog(log, { samples, seed: 1, fractions: { validation: 0, test: 0 } });
  const bytes = Deno.statSync(log).size;
  const table = new Table({ head: ["round", "dlrm, seconds", "MB/s", "Hotset, seconds", "MB/s", "ratio"] });
  for (let round = 1; round <= ROUNDS; round++) {
    const out = join(folder, "hotset");
    const flags = ["--validation-fraction", "0", "--test-fraction", "0", "--max-ind-range", `${RANGE}`, "--quiet"];
    const hotset = await time(Deno.execPath(), ["run", "-A", "cli.ts", "prepare", log, "--out", out, ...flags]);
    // dlrm leaves its files beside the log and does not do again what is there.
    const place = join(folder, `dlrm-${round}`);
    Deno.mkdirSync(place);
    Deno.linkSync(log, join(place, "train.txt"));
    const peer = await time("python3", ["-c", PEER, checkout, place], place);
    const rows = Dataset.open(out).body.tables.map(({ rows }) => rows - 1);
    if (JSON.stringify(rows) !== peer.last.replaceAll(" ", "")) throw new Error(`tables differ: ${peer.last}`);
    const speed = (seconds: number) => (bytes / 1e6 / seconds).toFixed(1);
    const ratio = (peer.seconds / hotset.seconds).toFixed(1);
    const columns = [peer.seconds.toFixed(1), speed(peer.seconds), hotset.seconds.toFixed(2), speed(hotset.seconds)];
    table.push([round, ...columns, ratio]);
  }
  console.log(table.toString());
} finally {
  Deno.removeSync(folder, { recursive: true });
}
