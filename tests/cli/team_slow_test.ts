/** prepare, profile and layout by several MPI processes write the same bytes as one process. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { isArtifact } from "../../src/storage/artifact.ts";
import { processesOf, runMpi, startMpi, testWithEach } from "../support/mpirun.ts";
import { Workplace } from "./support.ts";

const CLI = new URL("../../cli.ts", import.meta.url);
/** Processes of two hosts, which share this machine's disk. */
const RANKS = [2, 1];
const PROFILE = ["--hot-memory", "7MiB", "--arch-sparse-feature-size", "64", "--sample-rate", "40"];

/** A log in several files, so that each rank has some to read. */
async function logsIn(place: Workplace): Promise<string[]> {
  const lines = Deno.readTextFileSync(await place.log("whole.tsv", 12_000)).trimEnd().split("\n");
  return Array.from({ length: 5 }, (_, k) => {
    const part = lines.slice(k * 2400, (k + 1) * 2400);
    return place.write(`log-${k}.tsv`, `${part.join("\n")}\n`);
  });
}

function commandsIn(place: Workplace, name: string, logs: string[]): string[][] {
  const [data, profile, layout] = ["data", "profile", "layout"].map((kind) => place.join(`${name}-${kind}`));
  return [
    ["prepare", ...logs, "--out", data],
    ["profile", data, "--out", profile, ...PROFILE],
    ["layout", data, "--out", layout, "--batch-size", "100", ...PROFILE],
  ];
}

testWithEach("prepare, profile and layout write the same bytes on three ranks", async (launcher) => {
  using place = new Workplace();
  const logs = await logsIn(place);
  for (const [command, ...args] of commandsIn(place, "alone", logs)) await place.succeed(command, ...args, "--quiet");
  for (const [command, ...args] of commandsIn(place, "team", logs)) {
    const divided = [command, ...args, "--quiet", "--collective", "mpi"];
    const { code, stdout, stderr } = await runMpi(launcher, RANKS, CLI, divided, {}, place.path);
    assert.equal(code, 0, stderr);
    assert.equal(stdout.trimEnd().split("\n").length > 5, command === "profile", "only one rank prints");
  }
  for (const kind of ["data", "profile", "layout"]) {
    const found = place.files(`team-${kind}`).map((path) => path.replace(/^team/, ""));
    assert.deepEqual(found, place.files(`alone-${kind}`).map((path) => path.replace(/^alone/, "")));
    assert.ok(found.length > 1);
    for (const path of found) {
      assert.ok(Buffer.from(place.read(`team${path}`)).equals(place.read(`alone${path}`)), path);
    }
  }
});

testWithEach("after a kill any ranks go on with what is finished, to the same bytes", async (launcher) => {
  using place = new Workplace();
  const logs = await logsIn(place);
  const [alone, team] = ["alone", "team"].map((name) => commandsIn(place, name, logs)[0]);
  await place.succeed("prepare", ...alone.slice(1), "--quiet");
  const divided = [...team, "--quiet", "--collective", "mpi"];
  const process = startMpi(launcher, RANKS, CLI, divided, {}, place.path);
  const stage = () => [...Deno.readDirSync(place.path)].find(({ name }) => name.startsWith(".team-data.stage-"));
  while (stage() === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
  for (const rank of processesOf(place.join("team-data"))) Deno.kill(rank, "SIGKILL");
  assert.notEqual((await process.output()).code, 0);
  assert.ok(stage() !== undefined && !isArtifact(place.join("team-data")), "it was killed half-way");
  const { code, stderr } = await runMpi(launcher, [2], CLI, divided, {}, place.path);
  assert.equal(code, 0, stderr);
  for (const path of place.files("alone-data")) {
    assert.ok(Buffer.from(place.read(path.replace(/^alone/, "team"))).equals(place.read(path)), path);
  }
  assert.equal(stage(), undefined);
});
