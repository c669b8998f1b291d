/** `clean` removes what no run needs from caches, and nothing else. */
import assert from "node:assert/strict";
import { existsSync, linkSync } from "node:fs";
import { basename } from "node:path";
import { cacheList } from "../../src/report/run_tables.ts";
import { bytesToFree, clean, inspectCaches } from "../../src/run/clean.ts";
import { METRICS_FILE } from "../../src/run/run_metrics.ts";
import { RUN_FILE } from "../../src/run/run_record.ts";
import { resumeRun } from "../../src/run/run.ts";
import { ensureProfile } from "../../src/run/stages.ts";
import { bytesBelow, bytesFreed } from "../../src/storage/disk.ts";
import { OutputLock } from "../../src/storage/output_lock.ts";
import { CONFIG, dataOf, run } from "../support/small_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const SMALL = { ...CONFIG, epochs: 1 } as const;
const silent = () => {};

const names = (directory: string) =>
  existsSync(directory) ? [...Deno.readDirSync(directory)].map(({ name }) => name).sort() : [];

/** Makes an ended run one that was killed after its last checkpoint. */
function killed(out: string): void {
  const path = `${out}/${METRICS_FILE}`;
  Deno.writeTextFileSync(path, Deno.readTextFileSync(path).replace(/^.*"event":"result".*\n/m, ""));
}

Deno.test("clean lists what no run needs with its size, and removes nothing else", async () => {
  using directory = new TemporaryDirectory();
  const cache = directory.join("hotset");
  const dataset = dataOf(directory, 300);
  await run(directory, "hotset/ended", dataset, { ...SMALL, seed: 1 });
  await run(directory, "hotset/stopped", dataset, { ...SMALL, seed: 2 });
  killed(directory.join("hotset/stopped"));
  // A dataset that a run needs, one of which nothing is known, and one that a user has named.
  const own = tinyDataset(directory.join("hotset/datasets/00000000000000aa"), {
    ...{ samples: { train: 100, validation: 50, test: 50 }, tableRows: [20, 10], denseFeatures: 2 },
    ...{ bags: false, seed: 1, skew: 2 },
  });
  await run(directory, "hotset/other", own, { ...SMALL, mode: "cpu" });
  for (const name of ["00000000000000bb", "clicks"]) {
    Deno.mkdirSync(directory.join("hotset/datasets", name), { recursive: true });
    Deno.writeTextFileSync(directory.join("hotset/datasets", name, "manifest.json"), `{"name":"${name}"}`);
  }
  const leftover = directory.join("hotset/layouts/.0123456789abcdef.partial-999999999-x");
  Deno.mkdirSync(leftover);
  Deno.writeTextFileSync(`${leftover}/data`, "12345");

  assert.equal(inspectCaches([cache]).filter(({ path }) => path === leftover).length, 1, "listed once");

  const before = new Map(inspectCaches([cache]).map((item) => [item.path, item]));
  const why = (folder: string) =>
    [...before.values()].filter(({ path }) => path.includes(`/${folder}/`))
      .map(({ path, kind, kept }) =>
        `${kind} ${kept === null ? "-" : basename(kept)} ${/aa|bb/.exec(basename(path)) ?? ""}`
      ).sort();
  assert.equal(why("layouts").filter((text) => text.startsWith("layout -")).length, 2, "those of ended runs");
  assert.equal(why("layouts").filter((text) => text.startsWith("layout stopped")).length, 1);
  assert.ok(why("layouts").some((text) => text.startsWith("leftover -")));
  assert.equal(why("profiles").filter((text) => text.startsWith("profile -")).length, 1);
  assert.equal(why("profiles").length, 2, "that of the stopped run's layout is kept");
  const datasets = [...before.values()].filter(({ kind }) => kind === "dataset");
  assert.deepEqual(
    datasets.map(({ path, kept }) => [basename(path), kept === null]).sort(),
    [["00000000000000aa", false], ["00000000000000bb", true]],
    "not one that a user named",
  );
  assert.match(cacheList([...before.values()]), /^dataset +\d+ B .*not needed.*00000000000000bb$/m);
  assert.match(cacheList([...before.values()]), /needed by .*other/);

  const needless = [...before.values()].filter(({ kept }) => kept === null);
  assert.equal(bytesToFree([...before.values()]), needless.reduce((sum, { bytes }) => sum + bytes, 0));
  const all = bytesBelow(cache);
  const { removed, bytes } = clean([cache]);
  assert.deepEqual(removed.map(({ path }) => path).sort(), needless.map(({ path }) => path).sort());
  assert.equal(all - bytesBelow(cache), bytes);
  for (const { path, kept } of before.values()) assert.equal(existsSync(path), kept !== null, path);
  assert.ok(names(directory.join("hotset/datasets")).includes("clicks"));
  assert.deepEqual(clean([cache]).removed, [], "once is enough");
  await resumeRun({ out: directory.join("hotset/stopped"), report: silent });
  await resumeRun({ out: directory.join("hotset/other"), report: silent });
});

Deno.test("while a process works beside a cache, or a run cannot be read, nothing of it is removed", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, 200);
  const cache = directory.join("hotset");
  await ensureProfile(dataset, SMALL, { cache }, silent);
  const kept = () => inspectCaches([cache]).map((item) => item.kept);
  assert.deepEqual(kept(), [null]);
  {
    using _lock = await OutputLock.take(directory.join("hotset/run-1"), "begin", "busy");
    assert.deepEqual(kept(), ["run-1: being written now"]);
    assert.deepEqual(clean([cache]).removed, []);
  }
  Deno.mkdirSync(directory.join("hotset/run-2"));
  Deno.writeTextFileSync(directory.join("hotset/run-2", RUN_FILE), "{}");
  assert.match(kept()[0] ?? "", /run-2 cannot be read$/);
  assert.throws(
    () => clean([directory.join("gone")]),
    /^HotsetError: Cannot look for runs in .*gone: no such directory$/,
  );
});

Deno.test("what a killed process left is removed where nothing else is", () => {
  using directory = new TemporaryDirectory();
  Deno.mkdirSync(directory.join("runs/.run.partial-999999999-x"), { recursive: true });
  assert.deepEqual(clean([directory.path]).removed.map(({ kind }) => kind), ["leftover"]);
  assert.deepEqual([...Deno.readDirSync(directory.join("runs"))], []);
});

Deno.test("a file with a name elsewhere frees nothing, one whose names are all removed frees its bytes once", () => {
  using directory = new TemporaryDirectory();
  for (const name of ["a", "b"]) Deno.mkdirSync(directory.join(name));
  Deno.writeTextFileSync(directory.join("a/x"), "123");
  linkSync(directory.join("a/x"), directory.join("b/x"));
  Deno.writeTextFileSync(directory.join("a/y"), "12345");
  assert.equal(bytesBelow(directory.path), 8);
  assert.equal(bytesFreed([directory.join("a")]), 5);
  assert.equal(bytesFreed([directory.join("a"), directory.join("b")]), 8);
});

Deno.test("what a process of another host left, which may run there, is kept unless that is asked for", async () => {
  using directory = new TemporaryDirectory();
  const dataset = dataOf(directory, 200);
  const out = directory.join("hotset/run");
  await run(directory, "hotset/run", dataset, SMALL);
  const rows = ".rows.partial-1.a.b.c.elsewhere+x";
  Deno.mkdirSync(`${out}/${rows}`);
  Deno.writeTextFileSync(`${out}/${rows}/rows-1.log`, "12345");
  killed(out);
  const notes: string[] = [];
  await resumeRun({ out, report: (event) => event.event === "note" && notes.push(event.text) });
  assert.deepEqual(notes.filter((text) => text.includes("elsewhere")), [
    `${out} has a temporary file or directory of host elsewhere, whose process may still run; if it does not, remove ` +
    `that with: hotset clean ${out} --other-hosts --yes`,
  ]);
  const leftover = inspectCaches([out]).find(({ kind }) => kind === "leftover")!;
  assert.match(leftover.kept!, /^host elsewhere may still write it: clean there or, .* with --other-hosts$/);
  clean([out]);
  assert.ok(existsSync(`${out}/${rows}`));
  const { removed, bytes } = clean([out], { otherHosts: true });
  assert.deepEqual(removed.map(({ path }) => basename(path)), [rows]);
  assert.equal(bytes, 5);
  assert.ok(!existsSync(`${out}/${rows}`));
});
