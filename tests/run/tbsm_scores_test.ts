/** Scores of sessions as rows: predict, openModel and serve, compared with evaluate. */
import assert from "node:assert/strict";
import { resolveConfig } from "../../src/config/config.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { unknownShare } from "../../src/dataset/unknown_values.ts";
import { evaluateRun, predictRun } from "../../src/run/score_run.ts";
import { openModel } from "../../src/serving/scoring_model.ts";
import { smallSessions } from "../support/small_sessions.ts";
import { run } from "../support/small_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const CONFIG = resolveConfig("taobao", {
  ...{ model: "tbsm", mode: "cpu", ranks: 1, batchSize: 32, blas: "wasm", seed: 1, learningRate: 0.01 },
});

type Session = Readonly<{ label: number; user: number; item: readonly number[]; category: readonly number[] }>;

/** The test split as rows, without the steps before a short history. */
function sessionsOf(dataset: Dataset): Session[] {
  using reader = dataset.reader("test", dataset.samples("test"));
  const { labels, indices, count } = reader.read(0, dataset.samples("test"));
  return Array.from({ length: count }, (_, i) => {
    const table = (t: number) =>
      [...indices.subarray(i * dataset.bagsOfSample, (i + 1) * dataset.bagsOfSample)]
        .filter((_, k) => k % dataset.tables === t).map((row) => row - dataset.firstRows[t]);
    const items = table(1);
    const first = items.findIndex((item) => item > 0);
    return { label: labels[i], user: table(0)[0], item: items.slice(first), category: table(2).slice(first) };
  });
}

function csv(sessions: readonly Session[]): string {
  const lines = sessions.map(({ label, user, item, category }) =>
    [label, user, item.join("|"), category.join("|")].join(",")
  );
  return `label,user,item,category\n${lines.join("\n")}\n`;
}

Deno.test("rows of sessions get the scores of evaluate, from a file and in memory", async () => {
  using directory = new TemporaryDirectory();
  const dataset = await smallSessions(directory.join("sessions"));
  const { out } = await run(directory, "run", dataset, CONFIG);
  const sessions = sessionsOf(dataset);
  assert.ok(sessions.some(({ item }) => item.length < dataset.steps), "some are short");
  const file = directory.join("rows.csv");
  Deno.writeTextFileSync(file, csv(sessions));
  const evaluated = await evaluateRun(out, [], () => {}, { blas: "wasm" });
  const expected = evaluated.find(({ split }) => split === "test")!;
  const [ofRows] = await evaluateRun(out, [file], () => {}, { blas: "wasm" });
  assert.deepEqual(
    [ofRows.auc, ofRows.logloss, ofRows.accuracy, ofRows.unknownShare],
    [expected.auc, expected.logloss, expected.accuracy, expected.unknownShare],
  );
  const probabilities = await predictRun(out, [file], { blas: "wasm" }, () => {});
  const logloss = sessions.reduce(
    (sum, { label }, i) => sum - Math.log(label === 1 ? probabilities[i] : 1 - probabilities[i]),
    0,
  ) / sessions.length;
  assert.ok(Math.abs(logloss - expected.logloss) < 1e-6, "they are the probabilities of evaluate");
  using model = await openModel(out);
  assert.deepEqual(model.facts.columns, ["user", "item", "category"]);
  assert.deepEqual(model.score(sessions), probabilities);
  const long = sessions.map(({ user, item, category }) => ({
    ...{ user, item: [5, 6, ...item], category: [1, 2, ...category] },
  }));
  const whole = sessions.findIndex(({ item }) => item.length === dataset.steps);
  assert.equal(model.score(long)[whole], probabilities[whole], "only the last steps of a long history count");
  assert.deepEqual(model.unknownShare, { user: 0, item: 0, category: 0 });
  assert.throws(
    () => model.score([sessions[0], { user: 1, item: [], category: [] }]),
    /^HotsetError: Cannot score row 1 \(from 0\): it has no item, and the last one is the candidate$/,
  );
  assert.throws(
    () => model.score([{ user: 1, item: [1, 2], category: [1] }]),
    /^HotsetError: Cannot score row 0 \(from 0\): it has 2 items and 1 categories, where each item needs one$/,
  );
  assert.throws(() => model.score([{ user: 1, item: [1] }]), /it has no column category/);
  assert.throws(() => model.score([{ user: "none of the users", item: ["no item"], category: [] }]), /it has 1 items/);
  assert.deepEqual(model.unknownShare, { user: 0, item: 0, category: 0 }, "what is refused is not counted");
  model.score([{ user: "none of the users", item: [1, "no item"], category: [1, 1] }]);
  assert.ok(model.unknownShare.user > 0 && model.unknownShare.item > 0 && model.unknownShare.category === 0);
  Deno.writeTextFileSync(file, "user,item,category\n1,5|6,1\n");
  await assert.rejects(predictRun(out, [file], {}, () => {}), /row 0 \(from 0\): it has 2 items and 1 categories/);
});

Deno.test("the unknown share of sessions leaves out the steps before a short one", async () => {
  using directory = new TemporaryDirectory();
  const dataset = await smallSessions(directory.join("sessions"), { samples: { train: 40, validation: 0, test: 60 } });
  assert.ok(sessionsOf(dataset).some(({ item }) => item.length < dataset.steps));
  assert.deepEqual(await unknownShare(dataset, "test"), { user: 0, item: 0, category: 0 });
});
