/** While a run trains no other process can train it, and its checkpoints can be used. */
import assert from "node:assert/strict";
import { jsonLines, startUntil, WIDE_MODEL, Workplace } from "./support.ts";

/** True if a process has stored rows of the run. */
function hasRows(place: Workplace): boolean {
  return [...Deno.readDirSync(place.join("live"))].some(({ name }) => name.startsWith(".rows.partial-"));
}

const ON_DISK = [...WIDE_MODEL.slice(0, -2), "--memory", "5%"];
for (const [where, model] of [["in memory", WIDE_MODEL], ["on a disk", ON_DISK]] as const) {
  Deno.test(`a live run with rows ${where} is trained by one process alone; a kill makes way for the next`, async () => {
    using place = new Workplace();
    await place.log("log.tsv", 20_000);
    await place.succeed("prepare", "log.tsv", "--out", "data");
    const args = ["train", "data", "--out", "live", "--json", "--print-freq", "10", "--test-freq", "20", ...model];
    const { child, end } = await startUntil(place, [...args, "--epochs", "200"], "stdout", /"event":"checkpoint"/);
    const busy =
      "error: Cannot train run live: another process trains it; let that end first, or choose another --out\n";
    assert.deepEqual(await place.run("train", "--resume", "--out", "live", "--quiet"), {
      code: 1,
      stdout: "",
      stderr: busy,
    });
    assert.equal((await place.run("train", "data", "--out", "live", "--quiet", ...model)).code, 1);
    assert.equal(jsonLines(await place.succeed("evaluate", "live", "--json")).length, 2);
    assert.equal(hasRows(place), where === "on a disk");
    child.kill("SIGKILL");
    const { stdout } = await end();
    assert.ok(!stdout.includes('"event":"result"'), "it was live all the time");
    for (const line of Deno.readTextFileSync(place.join("live/metrics.jsonl")).trimEnd().split("\n")) JSON.parse(line);

    const resumed = await startUntil(place, ["train", "--resume", "--out", "live", "--json"], "stdout", /"progress"/);
    resumed.child.kill("SIGINT");
    assert.equal((await resumed.end()).code, 130);
    assert.deepEqual(place.files().filter((path) => path.endsWith(".lock")), []);
    assert.ok(!hasRows(place), "rows of the killed process are left");
  });
}

Deno.test("of two processes that begin one run, one is told", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 2000);
  await place.succeed("prepare", "log.tsv", "--out", "data");
  const begin = () => place.run("train", "data", "--out", "new", "--quiet", ...WIDE_MODEL);
  const outcomes = await Promise.all([begin(), begin()]);
  const [won, lost] = outcomes.sort((a, b) => a.code - b.code);
  assert.equal(won.code, 0, won.stderr);
  assert.match(
    lost.stderr,
    /^error: Cannot (train run|start a run in) new: (another process trains it|it contains a run); .*\n$/,
  );
});
