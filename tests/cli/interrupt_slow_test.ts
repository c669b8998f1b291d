import assert from "node:assert/strict";
import { jsonLines, startUntil, WIDE_MODEL, Workplace } from "./support.ts";

const EPOCHS = ["--epochs", "3"];

for (const [signal, exitCode] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
  Deno.test(`${signal} in training saves a checkpoint, from which the run ends with the same bits`, async () => {
    using place = new Workplace();
    await place.log("log.tsv", 20_000);
    await place.succeed("prepare", "log.tsv", "--out", "data");
    await place.succeed("train", "data", "--out", "whole", ...EPOCHS, ...WIDE_MODEL);
    const args = ["train", "data", "--out", "cut", "--json", "--print-freq", "10", ...EPOCHS, ...WIDE_MODEL];
    const { child, end } = await startUntil(place, args, "stdout", /"event":"progress".*"step":320,/);
    child.kill(signal);
    const { code, stdout, stderr } = await end();
    assert.equal(code, exitCode, stderr);
    assert.ok(!stdout.includes('"event":"result"'), "it was interrupted before its end");
    const advice = /^Training was interrupted at step (\d+); .*Continue with: deno run -A \S*cli\.ts (.*)$/m.exec(
      stderr,
    );
    assert.ok(advice, stderr);
    assert.equal(place.files().filter((path) => path.includes("partial")).length, 0);
    assert.notDeepEqual(place.bits("cut/last"), place.bits("whole/last"));

    const result = jsonLines(await place.succeed(...advice[2].split(" ") as [string], "--json")).at(-1);
    assert.equal(result.event, "result");
    const [cut, whole] = [place.bits("cut/last"), place.bits("whole/last")];
    for (const name of Object.keys(whole)) assert.deepEqual(cut[name], whole[name], name);
    // Once more: nothing is left to do, and nothing changes.
    assert.equal(
      jsonLines(await place.succeed("train", "--resume", "--out", "cut", "--json")).at(-1).steps,
      result.steps,
    );
    assert.deepEqual(place.bits("cut/last"), whole);
  });
}

Deno.test("a run that saves nothing is not said to go on", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 20_000);
  const args = ["train", "log.tsv", "--no-save", "--json", "--quiet", "--print-freq", "10", ...EPOCHS, ...WIDE_MODEL];
  const { child, end } = await startUntil(place, args, "stdout", /"event":"progress"/);
  child.kill("SIGINT");
  const { code, stderr } = await end();
  assert.equal(code, 130);
  assert.match(stderr, /^Training was interrupted at step \d+; nothing was saved\n$/);
});

Deno.test("a run that was killed in training goes on, and another can begin", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 20_000);
  const args = ["log.tsv", "--json", "--print-freq", "10", "--test-freq", "40", ...EPOCHS, ...WIDE_MODEL];
  const { child, end } = await startUntil(place, ["train", ...args], "stdout", /"event":"progress".*"step":200,/);
  child.kill("SIGKILL");
  await end();
  const result = jsonLines(await place.succeed("train", "--resume", "--out", "hotset/run-1", "--json")).at(-1);
  assert.equal(result.event, "result");
  const other = jsonLines(await place.succeed("train", ...args)).at(-1);
  assert.equal(other.run, "hotset/run-2");
  assert.deepEqual(place.bits("hotset/run-1/last"), place.bits("hotset/run-2/last"));
  assert.equal(place.files().filter((path) => path.includes("partial")).length, 0);
});

Deno.test("a run that was killed while it prepared begins anew, and leaves nothing of the first try", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 100_000);
  const child = place.start(["train", "log.tsv", "--quiet", ...WIDE_MODEL]);
  for (;;) {
    if (place.files().some((path) => path.startsWith("hotset/datasets/"))) break;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  child.kill("SIGKILL");
  await child.output();
  assert.match(await place.succeed("train", "log.tsv", ...WIDE_MODEL), /^Runs: hotset\/run-1$/m);
  const hidden = place.files().filter((path) => /\/\./.test(path));
  assert.deepEqual(hidden, ["hotset/.last-run"], "the number alone");
});

Deno.test("a killed writer's old artifact comes back where there is no new one", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 2000);
  await place.succeed("train", "log.tsv", "--out", "run", ...WIDE_MODEL);
  const whole = place.bits("run/last");
  // As a writer leaves it that was killed between its two renames; no process has such a number.
  Deno.renameSync(place.join("run/last"), place.join("run/.last.partial-99999999-ab.replaced"));
  const result = jsonLines(await place.succeed("train", "--resume", "--out", "run", "--json"));
  assert.deepEqual(place.bits("run/last"), whole);
  assert.equal(result.filter(({ event }) => event === "progress").length, 0, "the run was over already");
});
