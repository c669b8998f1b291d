/** A few of the faults of tools/faults.ts, which injects hundreds. */
import assert from "node:assert/strict";
import { Workplace } from "./support.ts";
import { runCorruptions, runFullDisk, runKills } from "../support/faults.ts";

Deno.test("commands killed at random moments, and given again, leave the bits of an undisturbed pipeline", async () => {
  const { injected, faults } = await runKills(3, 11);
  assert.deepEqual(faults, []);
  assert.equal(Object.values(injected).reduce((sum, count) => sum + count, 0), 3);
});

Deno.test("a corrupted artifact is one line of error, never a result", async () => {
  const { injected, faults } = await runCorruptions(60, 12);
  assert.deepEqual(faults, []);
  assert.equal(Object.keys(injected).length, 5);
});

Deno.test("a full disk is one line of error; with room again, the same commands succeed", async () => {
  const { injected, faults } = await runFullDisk(4, 13);
  assert.deepEqual(faults, []);
  assert.deepEqual(injected, { prepare: 1, profile: 1, layout: 1, train: 1 });
});

Deno.test({
  name: "files that may not be read or written are one line of error" +
    (Deno.uid() === 0 ? " (skipped: root may read and write all)" : ""),
  ignore: Deno.uid() === 0,
  async fn() {
    using place = new Workplace();
    await place.log("log.tsv", 1000);
    await place.succeed("prepare", "log.tsv", "--out", "data");
    Deno.chmodSync(place.join("data/manifest.json"), 0);
    assert.match(await place.fail(1, "profile", "data"), /^Cannot open dataset data: /);
    Deno.mkdirSync(place.join("locked"), { mode: 0o500 });
    assert.match(await place.fail(1, "prepare", "log.tsv", "--out", "locked/data"), /^Cannot write dataset /);
  },
});
