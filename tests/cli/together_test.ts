/** Concurrent calls in one process get different run numbers and build shared artifacts once. */
import assert from "node:assert/strict";
import { prepareDataset } from "../../src/dataset/prepare.ts";
import { ClaimedRun } from "../../src/run/claimed_run.ts";
import { OutputLock } from "../../src/storage/output_lock.ts";
import { Workplace } from "./support.ts";

Deno.test("a number is claimed by one, and free again where no run came of it", () => {
  using place = new Workplace();
  const home = place.join("home");
  {
    using one = new ClaimedRun(home);
    using two = new ClaimedRun(home);
    assert.deepEqual([one.out, two.out], [`${home}/run-1`, `${home}/run-2`]);
    Deno.mkdirSync(two.out);
  }
  Deno.removeSync(place.join("home/run-2"));
  for (const out of ["run-3", "run-3"]) {
    using next = new ClaimedRun(home);
    assert.equal(next.out, `${home}/${out}`, "number 2 was used, 3 is not");
  }
  {
    using _unused = new ClaimedRun(place.join("other"));
  }
  assert.deepEqual(place.files(), ["home/", "home/.last-run"]);
});

Deno.test("a claim that cannot be recorded is released", () => {
  using place = new Workplace();
  const claim = new ClaimedRun(place.path);
  Deno.mkdirSync(claim.out);
  Deno.mkdirSync(place.join(".last-run"));
  assert.ok(OutputLock.isHeld(claim.out));
  assert.throws(() => claim[Symbol.dispose]());
  assert.ok(!OutputLock.isHeld(claim.out));
});

Deno.test("what another call has made of the same source meanwhile is taken", async () => {
  using place = new Workplace();
  const options = { inputs: [await place.log("log.tsv", 60_000)], format: "criteo", out: place.join("data") } as const;
  const stages = [new Set<string>(), new Set<string>()];
  const [one, other] = await Promise.all(
    stages.map((seen) => prepareDataset({ ...options, threads: 1, onProgress: (stage) => void seen.add(stage) })),
  );
  assert.equal(one.id, other.id);
  assert.equal(stages.filter((seen) => seen.has("read")).length, 1, "read by one of them");
});

Deno.test("the lock of a process that was killed when its artifact was complete is removed, another's is not", () => {
  using place = new Workplace();
  const out = place.join("layout");
  OutputLock.removeLeft(out);
  assert.deepEqual(place.files(), []);
  {
    using _held = OutputLock.try(out, "hold");
    OutputLock.removeLeft(out);
    assert.ok(OutputLock.isHeld(out));
  }
  Deno.writeTextFileSync(place.join(".layout.lock"), "");
  OutputLock.removeLeft(out);
  assert.deepEqual(place.files(), []);
});
