/** A cache that several directories of runs share. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { HotsetError } from "../../src/errors.ts";
import { clean, inspectCaches } from "../../src/run/clean.ts";
import { registeredRuns } from "../../src/run/run_cache.ts";
import { findRuns } from "../../src/run/run_list.ts";
import { METRICS_FILE } from "../../src/run/run_metrics.ts";
import { resumeRun, startRun, trainOn } from "../../src/run/run.ts";
import { readRun } from "../../src/run/run_record.ts";
import { namedCache } from "../../cli/common_options.ts";
import { CONFIG, dataOf } from "../support/small_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const SMALL = { ...CONFIG, mode: "cpu", epochs: 1 } as const;
const silent = () => {};

function writeLog(directory: TemporaryDirectory): string {
  const path = directory.join("clicks.csv");
  const rows = Array.from({ length: 300 }, (_, i) => `${i % 3 === 0 ? 1 : 0},${i % 17},u${i % 23}`);
  Deno.writeTextFileSync(path, ["y,price,user", ...rows].join("\n") + "\n");
  return path;
}

const SCHEMA = {
  columns: [{ name: "y", kind: "label" }, { name: "price", kind: "dense" }, { name: "user", kind: "sparse" }],
} as const;

const entries = (path: string) => existsSync(path) ? [...Deno.readDirSync(path)].map(({ name }) => name).sort() : [];

Deno.test("runs in different directories share a named cache, which knows them wherever they are", async () => {
  using directory = new TemporaryDirectory();
  const log = writeLog(directory);
  const cache = directory.join("cache");
  const raw = { format: "csv", schema: SCHEMA, threads: 1 } as unknown as Parameters<typeof trainOn>[1];
  const runs = ["a/run", "b/run"].map((name) => directory.join(name));
  for (const [seed, out] of runs.entries()) {
    await trainOn([log], raw, { ...SMALL, shuffle: "batches", seed: seed + 1 }, { out, cache, report: silent });
  }
  assert.deepEqual(entries(directory.join("a")), ["run"], "nothing is beside a run");
  assert.equal(entries(`${cache}/datasets`).length, 1);
  assert.equal(entries(`${cache}/layouts`).length, 1, "without shuffled samples a layout has no seed");
  assert.equal(readRun(runs[0]).dataset, readRun(runs[1]).dataset);

  // The cache alone says which runs need what.
  const why = () => inspectCaches([cache]).map(({ kind, kept }) => [kind, kept]);
  assert.deepEqual(why(), [["layout", null], ["dataset", `needed by ${runs.join(", ")}`]]);
  const metrics = `${runs[1]}/${METRICS_FILE}`;
  Deno.writeTextFileSync(metrics, Deno.readTextFileSync(metrics).replace(/^.*"event":"result".*\n/m, ""));
  assert.deepEqual(why()[0], ["layout", `needed by ${runs[1]}`]);
  // A resumed run uses the cache that holds its dataset, if none is named.
  await resumeRun({ out: runs[1], report: silent });
  assert.deepEqual(entries(directory.join("b")), ["run"]);
  for (const run of runs) Deno.removeSync(run, { recursive: true });
  assert.deepEqual(clean([cache]).removed.map(({ kind }) => kind), ["layout", "dataset"]);
});

Deno.test("a run that another host recorded, and that is not seen here, keeps the cache unless it is said to be gone", async () => {
  using directory = new TemporaryDirectory();
  const cache = directory.join("cache");
  await startRun(SMALL, dataOf(directory, 100), { out: directory.join("run"), cache, report: silent });
  const layouts = () => inspectCaches([cache]).map(({ kept }) => kept);
  assert.deepEqual(layouts(), [null]);
  Deno.writeTextFileSync(`${cache}/.runs`, "/scratch/run\telsewhere\n", { append: true });
  const reason = "host elsewhere may have /scratch/run: clean there or, if it is gone, with --other-hosts";
  assert.deepEqual(layouts(), [reason]);
  assert.deepEqual(clean([cache]).removed, []);
  assert.equal(clean([cache], { otherHosts: true }).removed.length, 1);
  assert.deepEqual(registeredRuns(cache), [directory.join("run"), "/scratch/run"]);
});

Deno.test("a cache that cannot list its runs is refused in one line, before training", async () => {
  using directory = new TemporaryDirectory();
  const [cache, out] = [directory.join("cache"), directory.join("run")];
  Deno.writeTextFileSync(cache, "");
  await assert.rejects(
    startRun(SMALL, dataOf(directory, 100), { out, cache, report: silent }),
    (error) => error instanceof HotsetError && /^Cannot record run .*run in the cache .*cache: /.test(error.message),
  );
  assert.equal(existsSync(out), false);
});

Deno.test("a run behind a link, or with a hidden name, keeps the dataset beside its name", async () => {
  using directory = new TemporaryDirectory();
  const log = writeLog(directory);
  const raw = { format: "csv", schema: SCHEMA, threads: 1 } as unknown as Parameters<typeof trainOn>[1];
  for (const name of ["link", ".hidden"]) {
    const place = directory.join(`beside-${name}`);
    Deno.mkdirSync(place);
    if (name === "link") Deno.symlinkSync("../disk", `${place}/link`);
    const out = `${place}/${name}`;
    await trainOn([log], raw, SMALL, { out, report: silent });
    const kept = inspectCaches([place]).map(({ kind, kept }) => [kind, kept]);
    assert.deepEqual(kept, [["layout", null], ["dataset", `needed by ${out}`]]);
    assert.deepEqual(findRuns([place]), [out]);
  }
  // A run in the same tree as its link is found once.
  assert.equal(findRuns([directory.path]).length, 2);
});

Deno.test("an option names the cache, else HOTSET_CACHE", () => {
  const before = Deno.env.get("HOTSET_CACHE");
  try {
    Deno.env.delete("HOTSET_CACHE");
    assert.equal(namedCache({}), undefined);
    Deno.env.set("HOTSET_CACHE", "shared");
    assert.equal(namedCache({}), "shared");
    assert.equal(namedCache({ cache: "own" }), "own");
  } finally {
    if (before === undefined) Deno.env.delete("HOTSET_CACHE");
    else Deno.env.set("HOTSET_CACHE", before);
  }
});
