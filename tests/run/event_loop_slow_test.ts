/**
 * Long functions let other work of a program run in between. The tests count how often they do, because the time between
 * two breaks depends on the machine; they print the longest one.
 */
import assert from "node:assert/strict";
import { measureGaps } from "../../bench/event_loop.ts";
import { resolveConfig } from "../../src/config/config.ts";
import { writeCriteoLog } from "../../src/dataset/generate.ts";
import { prepareDataset } from "../../src/dataset/prepare.ts";
import { SessionModel } from "../../src/dataset/session_model.ts";
import { SessionWriter } from "../../src/dataset/session_writer.ts";
import { writeWindows } from "../../src/dataset/sessions.ts";
import { writeRows } from "../../src/dataset/write_rows.ts";
import { buildLayout } from "../../src/layout/build_layout.ts";
import { startRun } from "../../src/run/run.ts";
import { evaluateRun } from "../../src/run/score_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

/** Runs work while a timer counts its turns. Without breaks there would be one or two, before and after it. */
async function counted<T>(what: string, work: () => Promise<T>, least: number): Promise<T> {
  let turns = 0, longest = 0, last = performance.now();
  const timer = setInterval(() => {
    const now = performance.now();
    turns++;
    longest = Math.max(longest, now - last);
    last = now;
  }, 1);
  const begin = performance.now();
  const result = await work();
  longest = Math.max(longest, performance.now() - last);
  clearInterval(timer);
  console.log(
    `${what}: ${turns} turns in ${(performance.now() - begin).toFixed(0)} ms, the longest ${longest.toFixed(0)} ms`,
  );
  assert.ok(turns >= least, `${what}: ${turns} turns of the event loop`);
  return result;
}

Deno.test("preparing, laying out, training and evaluating let the event loop turn", async () => {
  using directory = new TemporaryDirectory();
  const log = directory.join("log.tsv");
  await writeCriteoLog(log, { samples: 150_000, seed: 1, scale: 500, fractions: { validation: 0.2, test: 0.2 } });
  const inputs = [log];
  const out = directory.join("data");
  const dataset = await counted("prepare", () => prepareDataset({ inputs, format: "criteo", out }), 10);
  const shuffle = { seed: 1 };
  (await counted(
    "layout",
    () => buildLayout(dataset, undefined, { out: directory.join("layout"), batchSize: 256, shuffle }),
    4,
  ))[Symbol.dispose]();
  const config = resolveConfig("default", { mode: "cpu", ranks: 1, bottom: [64, 16], top: [64, 1], batchSize: 256 });
  const run = directory.join("run");
  await counted("train", () => startRun(config, dataset, { out: run, report: () => {} }), 20);
  await counted("evaluate", () => evaluateRun(run, [], () => {}), 5);
});

Deno.test("writing many rows lets the event loop turn", async () => {
  using directory = new TemporaryDirectory();
  const rows = Array.from({ length: 100_000 }, (_, i) => ({ label: i % 2, user: `u${i % 1000}`, price: i / 3 }));
  assert.equal(await counted("rows", () => writeRows(rows, directory.join("rows.parquet")), 10), rows.length);
});

Deno.test("making many sessions lets the event loop turn", async () => {
  using directory = new TemporaryDirectory();
  const model = new SessionModel(1, 100);
  using writer = new SessionWriter(directory.join("sessions"), model.rows.reduce((sum, rows) => sum + rows, 0));
  const users = { first: 0, end: model.users };
  await counted("sessions", () => writeWindows(writer, "train", model, { seed: 1, users }), 10);
});

/** More than any part of the work takes on a machine that does much else, and less than all of it. */
const LIMIT_MS = 1500;

Deno.test("no long function of the library keeps the event loop waiting for long", async () => {
  using directory = new TemporaryDirectory();
  for await (const { what, longest } of measureGaps(directory.path, { samples: 30_000, scale: 50 })) {
    if (what.endsWith("at once)")) continue;
    console.log(`${what}: ${longest.toFixed(0)} ms`);
    assert.ok(longest < LIMIT_MS, `${what}: ${longest} ms`);
  }
});
