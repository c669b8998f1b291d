/** Faults of runs with rows on disk: each ends with one line, and the run resumes from its last checkpoint. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { HotsetError } from "../../src/errors.ts";
import type { RunEvent } from "../../src/events/events.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { checkpointsOf } from "../support/checkpoint_words.ts";
import { CALLS } from "../support/forbidden_calls.ts";
import { CONFIG, dataOf, quiet, stopAt } from "../support/row_runs.ts";
import { onSmallDisk, SmallDisk } from "../support/small_disk.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const config = { ...CONFIG, checkpointSteps: 10, keep: 2 };
const memory = { share: 0.05 };

Deno.test({
  ...onSmallDisk("a disk without O_DIRECT that fills up in mid-run"),
  fn: async () => {
    using place = new TemporaryDirectory();
    const dataset = dataOf(place);
    await startRun(config, dataset, { out: place.join("plain"), report: quiet });
    using disk = new SmallDisk(32);
    const out = disk.join("run");
    let filler: string | undefined;
    const notes: string[] = [];
    const report = (event: RunEvent) => {
      if (event.event === "note") notes.push(event.text);
      if (event.event === "checkpoint") filler ??= disk.fill();
    };
    const error = await startRun({ ...config, memory }, dataset, { out, report })
      .then(() => assert.fail("it trained"), (error) => error);
    assert.equal(error.code, "no-space", error.message);
    assert.match(
      error.message,
      /^Cannot write [^\n]*(disk is full|No space left)[^\n]*; the last good checkpoint is /i,
    );
    assert.ok(error.message.endsWith(`: free some space, then continue with train --resume --out ${out}`));
    await assert.rejects(
      resumeRun({ out, report: quiet }),
      (error) => error instanceof HotsetError && error.code === "no-space" && !error.message.includes("\n"),
    );
    Deno.removeSync(filler!);
    await resumeRun({ out, report: quiet });
    assert.deepEqual(checkpointsOf(out), checkpointsOf(place.join("plain")));
  },
});

/** The segment of a checkpoint that was written last. */
function lastSegment(checkpoint: string): string {
  const numbers = [...Deno.readDirSync(checkpoint)].flatMap(({ name }) => /^rows-(\d+)\.log$/.exec(name)?.[1] ?? []);
  return join(checkpoint, `rows-${Math.max(...numbers.map(Number))}.log`);
}

const flip = (path: string) => {
  const bytes = Deno.readFileSync(path);
  bytes[bytes.length >> 1] ^= 1;
  Deno.writeFileSync(path, bytes);
};

for (
  const [name, damage] of [
    ["a flipped bit", (segment) => flip(segment)],
    ["a torn page", (segment) => Deno.truncateSync(segment, Deno.statSync(segment).size - 1000)],
    ["a page of zeros", (segment) => {
      using file = Deno.openSync(segment, { write: true });
      file.writeSync(new Uint8Array(4096));
    }],
    ["a segment of another run", (segment, other) => Deno.copyFileSync(lastSegment(`${other}/last`), segment)],
    ["a missing segment", (segment) => Deno.removeSync(segment)],
  ] as [string, (segment: string, other: string) => void][]
) {
  Deno.test(`${name} in the last checkpoint is refused, and the one before it is used`, async () => {
    using place = new TemporaryDirectory();
    const dataset = dataOf(place);
    const [plain, out, other] = ["plain", "run", "other"].map((name) => place.join(name));
    await startRun(config, dataset, { out: plain, report: quiet });
    await startRun({ ...config, memory, seed: 5, epochs: 1 }, dataset, { out: other, report: quiet });
    await stopAt(23, (stop) => startRun({ ...config, memory }, dataset, { out, ...stop }));
    damage(lastSegment(`${out}/last`), other);
    await assert.rejects(
      resumeRun({ out, report: quiet }),
      (error) =>
        error instanceof HotsetError && error.message.startsWith("Cannot ") && error.message.includes(`${out}/last`) &&
        error.message.endsWith(`without ${out}/last, --resume continues from ${out}/step-20`),
    );
    Deno.removeSync(`${out}/last`, { recursive: true });
    await resumeRun({ out, report: quiet });
    assert.deepEqual(checkpointsOf(out), checkpointsOf(plain));
  });
}

Deno.test("a process that is killed during a compaction loses nothing", async () => {
  using place = new TemporaryDirectory();
  const dataset = dataOf(place);
  const [plain, out] = ["plain", "run"].map((name) => place.join(name));
  const large = { ...config, dim: 64, bottom: [12, 64], epochs: 6 };
  await startRun(large, dataset, { out: plain, report: quiet });
  const script = new URL("../support/killed_compaction.ts", import.meta.url).pathname;
  const { signal, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", script, dataset.directory, out, JSON.stringify({ ...large, memory })],
  }).output();
  assert.equal(signal, "SIGKILL", new TextDecoder().decode(stderr));
  await resumeRun({ out, report: quiet });
  assert.deepEqual(checkpointsOf(out), checkpointsOf(plain));
  assert.deepEqual([...Deno.readDirSync(out)].map(({ name }) => name).filter((name) => name.startsWith(".")), []);
});

const SCRIPT = new URL("../support/forbidden_calls.ts", import.meta.url).pathname;
for (
  const [name, calls, way] of [
    ["io_uring", [CALLS.ioUringSetup], /\(Linux AIO, \d+ at a time/],
    ["io_uring and AIO", [CALLS.ioUringSetup, CALLS.aioSetup], /\(4 threads/],
  ] as const
) {
  Deno.test({
    name: `where the system forbids ${name}, another way is taken with the same bits`,
    ignore: Deno.build.os !== "linux",
    fn: async () => {
      using place = new TemporaryDirectory();
      const dataset = dataOf(place);
      await startRun(CONFIG, dataset, { out: place.join("plain"), report: quiet });
      const out = place.join("run");
      const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", SCRIPT, dataset.directory, out, ...calls.map(String)],
      }).output();
      assert.ok(success, new TextDecoder().decode(stderr));
      assert.match(new TextDecoder().decode(stdout), way);
      assert.deepEqual(checkpointsOf(out), checkpointsOf(place.join("plain")));
    },
  });
}
