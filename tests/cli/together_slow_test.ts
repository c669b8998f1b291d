/** Commands that start at the same time get different runs and build shared artifacts once. */
import assert from "node:assert/strict";
import { startUntil, TINY_MODEL, Workplace } from "./support.ts";

Deno.test("runs that begin together on one log prepare it once, and have a number each", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 2000);
  const rates = ["0.01", "0.02", "0.03"];
  const outcomes = await Promise.all(
    rates.map((rate) => place.run("train", "log.tsv", "--learning-rate", rate, ...TINY_MODEL)),
  );
  for (const { code, stderr } of outcomes) assert.equal(code, 0, stderr);
  const runs = outcomes.map(({ stdout }) => /^Runs: (.*)$/m.exec(stdout)![1]).sort();
  assert.deepEqual(runs, ["hotset/run-1", "hotset/run-2", "hotset/run-3"]);
  for (const folder of ["datasets", "layouts"]) {
    assert.equal([...Deno.readDirSync(place.join("hotset", folder))].length, 1, `${folder}, nothing but the one`);
  }
  Deno.removeSync(place.join("hotset/run-3"), { recursive: true });
  assert.match(await place.succeed("train", "log.tsv", ...TINY_MODEL), /^Runs: hotset\/run-4$/m);
});

Deno.test("who waits goes on with the work of one that was killed", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 100_000);
  await place.succeed("prepare", "log.tsv", "--out", "whole");
  const command = ["prepare", "log.tsv", "--out", "data"];
  const first = place.start(command);
  const works = () => place.files().some((path) => path.startsWith(".data.stage-")); // and so has the lock
  while (!works()) await new Promise((resolve) => setTimeout(resolve, 5));
  first.kill("SIGSTOP"); // so that it is not done before the other has begun to wait
  const { end } = await startUntil(
    place,
    command,
    "stderr",
    /^Waiting for another process that builds the same dataset$/m,
  );
  first.kill("SIGKILL");
  await first.output();
  const { code, stderr } = await end();
  assert.equal(code, 0, stderr);
  assert.deepEqual(place.bits("data"), place.bits("whole"));
});

Deno.test("a signal ends a command that waits", async () => {
  using place = new Workplace();
  await place.succeed("generate", "--samples", "300", "--scale", "1000", "--out", "data");
  const command = ["layout", "data", "--batch-size", "64", "--hot-memory", "1KiB"];
  await place.succeed(...command as [string]);
  const [{ name }] = Deno.readDirSync(place.join("hotset/layouts"));
  Deno.removeSync(place.join("hotset/layouts", name), { recursive: true });
  using lock = Deno.openSync(place.join(`hotset/layouts/.${name}.lock`), { write: true, create: true });
  lock.lockSync(true);
  const { child, end } = await startUntil(place, command, "stderr", /^Waiting for another process that builds/m);
  child.kill("SIGTERM");
  const { code, stderr } = await end();
  assert.equal(code, 143, stderr);
});
