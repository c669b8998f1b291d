/** Metrics by group: each user's AUC and logloss, in datasets, training, evaluation and the choice of a checkpoint. */
import assert from "node:assert/strict";
import { resolveConfig } from "../../src/config/config.ts";
import { auc, metricsOf } from "../../src/events/metrics.ts";
import type { Dataset } from "../../src/dataset/dataset.ts";
import { prepareDataset, type PrepareOptions } from "../../src/dataset/prepare.ts";
import { Random } from "../../src/random.ts";
import { evaluationTable, resultTable } from "../../src/report/tables.ts";
import { labelNotes } from "../../src/run/label_notes.ts";
import { startRun } from "../../src/run/run.ts";
import { readRunLog } from "../../src/run/run_log.ts";
import { evaluateRun, predictRun } from "../../src/run/score_run.ts";
import { TemporaryDirectory } from "../dataset/support.ts";

const COLUMNS = [
  { name: "y", kind: "label" },
  { name: "x", kind: "dense", transform: "none" },
  { name: "user", kind: "sparse" },
  { name: "item", kind: "sparse" },
  { name: "session", kind: "ignore" },
];
const HEADER = "y,x,user,item,session\n";

/** Uniform numbers from 0 to 1. */
function uniform(seed: number): () => number {
  const random = new Random(seed);
  return () => random.uniform();
}

/** Rows of eight users, one of whom has no clicks, and of sessions that are no feature. */
function rows(count: number, user = (i: number) => `${i * 7 % 8}`): string {
  const random = uniform(count);
  const lines = Array.from({ length: count }, (_, i) => {
    const who = user(i);
    return [who === "0" ? 0 : Number(random() < 0.5), random().toFixed(3), who, i % 5, `s${i % 3}`].join(",");
  });
  return HEADER + lines.join("\n") + "\n";
}

function prepare(directory: TemporaryDirectory, options: Partial<PrepareOptions>): Promise<Dataset> {
  const schema = directory.write("schema.json", JSON.stringify({ columns: COLUMNS }));
  const inputs = [directory.write("log.csv", rows(200))];
  return prepareDataset({ inputs, format: "csv", schema, out: directory.join("data"), ...options });
}

/** The groups of a split as text. */
function groupsOf(dataset: Dataset, split: "train" | "validation" | "test"): string[] {
  const words = dataset.readGroups(split, dataset.samples(split))!;
  return Array.from({ length: words.length / 2 }, (_, i) => `${words[2 * i]} ${words[2 * i + 1]}`);
}

/** True if two lists have equal elements at the same pairs of places. */
function sameGroups(left: readonly string[], right: readonly string[]): boolean {
  const first = (list: readonly string[]) => list.map((value) => list.indexOf(value)).join();
  return first(left) === first(right);
}

Deno.test("GAUC is the mean AUC of the groups with both classes, weighted by their samples", () => {
  const random = uniform(1);
  for (const count of [1, 2, 40, 1000]) {
    const logits = Float32Array.from({ length: count }, () => Math.round(8 * random() - 4) / 2); // with ties
    const labels = Uint8Array.from({ length: count }, () => Number(random() < 0.4));
    const groups = Uint32Array.from({ length: 2 * count }, () => Math.floor(3 * random()) * 0x1234567); // of both words
    const byGroup = new Map<string, number[]>();
    for (let i = 0; i < count; i++) {
      const key = `${groups[2 * i]} ${groups[2 * i + 1]}`;
      byGroup.set(key, [...byGroup.get(key) ?? [], i]);
    }
    let weighted = 0, ranked = 0, losses = 0, oneClass = 0;
    for (const places of byGroup.values()) {
      const [scores, own] = [Float32Array.from(places, (i) => logits[i]), Uint8Array.from(places, (i) => labels[i])];
      losses += metricsOf(scores, own).logloss;
      const value = auc(scores, own);
      if (Number.isNaN(value)) oneClass++;
      else [weighted, ranked] = [weighted + value * places.length, ranked + places.length];
    }
    const found = metricsOf(logits, labels, groups).byGroup!;
    assert.equal(found.groups, byGroup.size);
    assert.equal(found.oneClass, oneClass);
    assert.ok(ranked === 0 ? Number.isNaN(found.gauc) : Math.abs(found.gauc - weighted / ranked) < 1e-12);
    assert.ok(Math.abs(found.logloss - losses / byGroup.size) < 1e-12);
  }
  assert.equal(metricsOf(Float32Array.of(1), Uint8Array.of(1)).byGroup, undefined);
});

Deno.test("groups of a table follow its values' rule, those of a column that is ignored its text", async () => {
  using directory = new TemporaryDirectory();
  const test = directory.write("test.csv", `${HEADER}0,1,5,1,a\n1,1,5.0,1,b\n0,1,new,1,a\n1,1,other,2,b\n`);
  const numbers = directory.write("numbers.csv", `${HEADER}0,1,5,1,a\n1,1,5.0,1,b\n0,1,91,1,a\n1,1,92,2,b\n`);
  const made = async (options: Partial<PrepareOptions>) => {
    const dataset = await prepare(directory, { ...options, validationFraction: 0 });
    return [dataset.body.group, groupsOf(dataset, "test")] as const;
  };
  const [group, users] = await made({ testInputs: [numbers], groupBy: "user" });
  assert.equal(group, "user");
  assert.ok(sameGroups(users, ["5", "5", "91", "92"]), "unknown users are not one");
  const [, sessions] = await made({ testInputs: [test], groupBy: "session" });
  assert.ok(sameGroups(sessions, ["a", "b", "a", "b"]));
  const [, ranged] = await made({ testInputs: [numbers], groupBy: "user", maxIndRange: 1 });
  assert.deepEqual(ranged, users, "an index range does not merge groups");
  const without = await prepare(directory, {});
  assert.equal(without.readGroups("test", 1), undefined);
});

Deno.test("the order of rows by time is that of their groups", async () => {
  using directory = new TemporaryDirectory();
  const log = directory.write("u.data", "1\t7\t5\t30\n2\t7\t1\t10\n1\t8\t4\t20\n");
  const dataset = await prepareDataset({
    ...{ inputs: [log], format: "movielens", groupBy: "user", out: directory.join("data") },
    ...{ validationFraction: 0, testFraction: 0 },
  });
  assert.ok(sameGroups(groupsOf(dataset, "train"), ["2", "1", "1"]));
});

Deno.test("a run reports GAUC, keeps the checkpoint with the best, and evaluates raw rows by group", async () => {
  using directory = new TemporaryDirectory();
  const dataset = await prepare(directory, { groupBy: "user", validationFraction: 0.3, testFraction: 0.3 });
  const config = resolveConfig("kaggle", {
    ...{ mode: "cpu", device: "cpu", dim: 2, bottom: [4, 2], top: [4, 1], batchSize: 16, ranks: 1, monitor: "gauc" },
    ...{ optimizer: "adagrad", learningRate: 0.3, testFreq: 4, epochs: 3 },
  });
  const result = await startRun(config, dataset, { out: directory.join("run"), report: () => {} });
  const { evaluations } = readRunLog(directory.join("run"));
  const validation = evaluations.filter(({ split }) => split === "validation");
  const best = validation.reduce((a, b) => b.byGroup!.gauc > a.byGroup!.gauc ? b : a);
  assert.equal(result.best.step, best.step);
  assert.deepEqual([result.byGroup!.groups, result.byGroup!.oneClass], [8, 1]);
  assert.match(resultTable([result]), /GAUC[^]*8 groups; 1 with labels of one class/);
  const [, test] = await evaluateRun(directory.join("run"), [], () => {});
  const { logloss, ...counts } = test.byGroup!; // other sizes of batches round sums otherwise, which moves ties
  assert.ok(Math.abs(logloss - result.byGroup!.logloss) < 1e-6);
  assert.deepEqual({ ...counts, gauc: 0 }, { groups: 8, oneClass: 1, gauc: 0 });
  assert.match(evaluationTable([test]), new RegExp(`logloss by group[^]* ${test.byGroup!.gauc.toFixed(4)} `));

  const unknown = directory.write("new.csv", rows(60, (i) => `new${i % 4}`));
  const [raw] = await evaluateRun(directory.join("run"), [unknown], () => {});
  assert.equal(raw.byGroup!.groups, 4, "users that training has not seen");
  const bare = directory.write("bare.csv", "x,user,item\n1,5,2\n");
  assert.equal((await predictRun(directory.join("run"), [bare], {}, () => {})).length, 1);
});

Deno.test("what cannot name groups is refused", async () => {
  using directory = new TemporaryDirectory();
  for (
    const [options, message] of [
      [
        { groupBy: "users" },
        /Cannot group by users: the schema has no column users; did you mean "user"\?$/,
      ],
      [
        { groupBy: "advertiser" },
        /the schema has no column advertiser; add it, with kind ignore if it is not a feature$/,
      ],
      [{ groupBy: "" }, /Cannot group by "": the name of the column is empty$/],
      [{ groupBy: "x" }, /Cannot group by x: column x has kind dense; groups need a column of kind sparse or ignore$/],
      [
        { format: "criteo", schema: undefined, groupBy: "C1" },
        /Cannot group by C1: format criteo has no column of users; describe the log with --format csv and a schema$/,
      ],
    ] as const
  ) {
    await assert.rejects(prepare(directory, options as Partial<PrepareOptions>), message);
  }
  const missing = directory.write("missing.csv", `${HEADER}1,1,5,1,a\n1,1,5,1,\n`);
  await assert.rejects(prepare(directory, { inputs: [missing], groupBy: "session" }), /line 3: session is empty/);
  const nobody = directory.write("nobody.csv", `${HEADER}1,1,5,1,a\n1,1,NA,1,b\n`);
  await assert.rejects(
    prepare(directory, { inputs: [nobody], groupBy: "user" }),
    /line 3: user is "NA", a missing value, and every row needs one$/,
  );
  assert.equal((await prepare(directory, { inputs: [nobody] })).samples("train"), 2, "a feature may be missing");
  const alone = directory.write("alone.csv", rows(60, (i) => `${i}`));
  const each = await prepare(directory, { validationInputs: [alone], groupBy: "user", out: directory.join("each") });
  assert.match(
    (await labelNotes(each, "gauc")).join("\n"),
    /^No group of the validation split has both labels, so GAUC is/,
  );
  assert.deepEqual(await labelNotes(each, "auc"), []);
  const schema = directory.write("grouped.json", JSON.stringify({ columns: COLUMNS, group: "y" }));
  await assert.rejects(prepare(directory, { schema }), /Cannot read schema .*: column y has kind label; groups need/);
  const hex = COLUMNS.map((column) => column.name === "user" ? { ...column, values: "hex" } : column);
  const hexed = directory.write("hex.json", JSON.stringify({ columns: hex, group: "user" }));
  await assert.rejects(prepare(directory, { schema: hexed, maxIndRange: 5 }), /--max-ind-range merges its hexadecimal/);
  const dataset = await prepare(directory, {});
  const config = resolveConfig("kaggle", { mode: "cpu", monitor: "gauc", dim: 2, bottom: [2], top: [1], ranks: 1 });
  await assert.rejects(startRun(config, dataset, { out: directory.join("run"), report: () => {} }), {
    name: "UsageError",
    message: `Cannot monitor gauc on ${dataset.directory}: it has no column of groups; prepare it with --group COLUMN`,
  });
});
