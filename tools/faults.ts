/**
 * Kills processes and corrupts files, and checks that nothing is lost and no damage is overlooked.
 *
 *     deno task faults --kills 200 --corruptions 500 --rank-kills 20 --row-kills 100 --seed 1
 *
 * Kills: commands of the pipeline (prepare, profile, layout, train with checkpoints) are killed (SIGKILL) at random
 * moments and repeated until they are complete; then every artifact must have the bits of an undisturbed pipeline, and
 * no other file may exist. Corruptions: one file of one artifact is truncated, extended, overwritten, removed, or has
 * one bit flipped; opening the artifact must fail with one line "Cannot ..." and no stack trace. Every tenth of them,
 * and a full disk (a limit on the size of files), is tested through the command line. Rank kills: one of two ranks that
 * mpirun started is killed; all must end within 20 seconds, and the command that training printed must resume it and
 * finish with the bits of an undisturbed training. Row kills: trainings with rows on disk are killed and resumed within
 * other memory budgets, and must finish with the bits of training in memory. Writes one JSON object.
 */
import { parseArgs } from "node:util";
import { Terminal } from "../src/report/terminal.ts";
import { runCorruptions, runFullDisk, runKills } from "../tests/support/faults.ts";
import { runRowKills } from "../tests/support/row_kills.ts";
import { runRankKills } from "../tests/support/rank_kills.ts";

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      kills: { type: "string", default: "200" },
      corruptions: { type: "string", default: "500" },
      "rank-kills": { type: "string", default: "20" },
      "row-kills": { type: "string", default: "100" },
      seed: { type: "string", default: "1" },
    },
  });
  const seed = Number(values.seed);
  const corruptions = Number(values.corruptions);
  using terminal = new Terminal();
  const show = (stage: string) => (fraction: number) => terminal.report({ event: "stage", stage, fraction });
  const result = {
    rankKills: await runRankKills(Number(values["rank-kills"]), seed, show("killed ranks")),
    rowKills: await runRowKills(Number(values["row-kills"]), seed, show("killed runs on a disk")),
    kills: await runKills(Number(values.kills), seed, show("kills")),
    corruptions: await runCorruptions(corruptions, seed, show("corruptions")),
    fullDisk: await runFullDisk(corruptions > 0 ? 20 : 0, seed, show("full disks")),
  };
  terminal.clear();
  console.log(JSON.stringify(result, null, 1));
  const faults = [
    ...result.rankKills.faults,
    ...result.rowKills.faults,
    ...result.kills.faults,
    ...result.corruptions.faults,
    ...result.fullDisk.faults,
  ];
  Deno.exit(faults.length === 0 ? 0 : 1);
}
