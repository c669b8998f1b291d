/** Processes that mpirun started, with an emulated GPU each: NCCL's id reaches them over MPI. */
import assert from "node:assert/strict";
import { jsonLines, TINY_MODEL, Workplace } from "./support.ts";

const CLI = new URL("../../cli.ts", import.meta.url).pathname;
/** Open MPI starts no processes for root, and no more than there are cores, unless it is told to. */
const ENVIRONMENT = {
  NO_COLOR: "1",
  OMPI_ALLOW_RUN_AS_ROOT: "1",
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1",
  OMPI_MCA_rmaps_base_oversubscribe: "1",
};
const FLAGS = ["--device", "emulated", "--json", "--quiet", "--print-freq", "1", "--batch-size", "50", "--out", "run"];

function isInstalled(program: string): boolean {
  try {
    return new Deno.Command(program, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

/** What a run printed and left. */
function outcomeOf(place: Workplace, stdout: string) {
  const events = jsonLines(stdout);
  return {
    losses: events.filter(({ event }) => event === "progress").map(({ loss }) => loss),
    result: events.at(-1),
    rows: place.bits("run/last")["rows.f32"],
    dense: place.bits("run/last")["dense.f32"],
  };
}

async function threads(mode: string) {
  using place = new Workplace();
  place.log("log.tsv", 500);
  return outcomeOf(place, await place.succeed("train", "log.tsv", "--mode", mode, ...FLAGS, ...TINY_MODEL));
}

async function processes(mpirun: string, mode: string) {
  using place = new Workplace();
  place.log("log.tsv", 500);
  const model = TINY_MODEL.slice(0, TINY_MODEL.indexOf("--ranks"));
  const program = [Deno.execPath(), "run", "-A", "--no-check", CLI];
  const { code, stdout, stderr } = await new Deno.Command(mpirun, {
    args: ["-n", "2", ...program, "train", "log.tsv", "--collective", "nccl", "--mode", mode, ...FLAGS, ...model],
    ...{ cwd: place.path, env: ENVIRONMENT, stdin: "null" as const },
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return outcomeOf(place, new TextDecoder().decode(stdout));
}

for (const [mpirun, mode] of [["mpirun.openmpi", "hybrid"], ["mpirun.mpich", "gpu"], ["mpirun.openmpi", "fae"]]) {
  const ignore = !isInstalled(mpirun);
  Deno.test({
    name: `two processes with a GPU each, by ${mpirun} in mode ${mode}, leave the bits of two threads${
      ignore ? ` (skipped: no ${mpirun})` : ""
    }`,
    ignore,
    async fn() {
      const [expected, found] = [await threads(mode), await processes(mpirun, mode)];
      assert.ok(expected.losses.length >= 8);
      assert.deepEqual(found.losses, expected.losses);
      assert.deepEqual([found.rows, found.dense], [expected.rows, expected.dense]);
      const { ranks, device, bytesFromRanks, launchesPerStep } = found.result;
      assert.deepEqual([ranks, device], [2, expected.result.device]);
      assert.deepEqual([bytesFromRanks, launchesPerStep], [
        expected.result.bytesFromRanks,
        expected.result.launchesPerStep,
      ]);
      assert.ok(bytesFromRanks > 0);
    },
  });
}
