/** MPI processes with one emulated GPU each: the id of NCCL's communicator is sent over MPI. */
import assert from "node:assert/strict";
import { assertClose, largestError } from "../support/close.ts";
import { runMpi, testInTurn } from "../support/mpirun.ts";
import { someOf } from "../support/series.ts";
import { jsonLines, TINY_MODEL, Workplace } from "./support.ts";

const CLI = new URL("../../cli.ts", import.meta.url);
const FLAGS = ["--device", "emulated", "--json", "--quiet", "--print-freq", "1", "--batch-size", "50"];

/** The command that trains in mode `mode` into the directory run. */
async function commandIn(place: Workplace, mode: string): Promise<string[]> {
  return ["train", await place.log("log.tsv", 500), "--mode", mode, "--out", place.join("run"), ...FLAGS];
}

/** What a run printed and left. */
function outcomeOf(place: Workplace, stdout: string) {
  const events = jsonLines(stdout);
  const { "rows.f32": rows, "dense.f32": dense } = place.bits("run/last");
  const losses: number[] = events.filter(({ event }) => event === "progress").map(({ loss }) => loss);
  return { losses, result: events.at(-1), rows, dense };
}

const floatsOf = (bytes: Uint8Array) => new Float32Array(bytes.slice().buffer);

async function threads(mode: string) {
  using place = new Workplace();
  return outcomeOf(place, await place.succeed(...await commandIn(place, mode), ...TINY_MODEL));
}

/**
 * Modes, with the processes of each host. Rows in the memory of several hosts are sharded, and the sums of their gradients
 * are taken host by host: that leaves other last bits.
 */
const PLACES: [mode: string, hosts: number[], equalBits: boolean][] = [
  ["fae", [1, 1], false],
  ["fae", [2], true],
  ["hybrid", [2], true],
  ["gpu", [1, 1], true],
  ["hybrid", [1, 1], false],
];

for (const [mode, hosts, equalBits] of someOf(PLACES, PLACES.length)) {
  testInTurn(
    `processes with a GPU each, on ${hosts.length} hosts in mode ${mode}, leave ${
      equalBits ? "the bits" : "the rows"
    } of threads`,
    async (launcher) => {
      const expected = await threads(mode);
      assert.ok(expected.losses.length >= 8);
      using place = new Workplace();
      const model = TINY_MODEL.slice(0, TINY_MODEL.indexOf("--ranks"));
      const command = [...await commandIn(place, mode), "--collective", "nccl", ...model];
      const { code, stdout, stderr } = await runMpi(launcher, hosts, CLI, command);
      assert.equal(code, 0, stderr);
      const found = outcomeOf(place, stdout);
      if (equalBits) {
        assert.deepEqual(found.losses, expected.losses);
        assert.deepEqual([found.rows, found.dense], [expected.rows, expected.dense]);
      } else {
        assert.ok(largestError(found.losses, expected.losses) < 1e-6);
        for (const key of ["rows", "dense"] as const) {
          assertClose(floatsOf(found[key]), floatsOf(expected[key]), 1e-6, `${key} of the last checkpoint`);
        }
      }
      for (const field of ["ranks", "device", "bytesFromRanks", "launchesPerStep"]) {
        assert.deepEqual(found.result[field], expected.result[field], field);
      }
      assert.ok(found.result.bytesFromRanks > 0);
    },
  );
}
