/** Sessions: the published windows, and datasets of them. */
import assert from "node:assert/strict";
import { UsageError } from "../../src/errors.ts";
import type { Dataset, Split } from "../../src/dataset/dataset.ts";
import { SessionModel } from "../../src/dataset/session_model.ts";
import { SESSION_TABLES, STEPS } from "../../src/dataset/session_writer.ts";
import { HISTORY, History, windowsOf } from "../../src/dataset/sessions.ts";
import { Random } from "../../src/random.ts";
import { smallSessions } from "../support/small_sessions.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

/** A history of so many items, padded on the left. */
function historyOf(length: number): Pick<History, "items"> {
  return { items: Uint32Array.from({ length: HISTORY }, (_, i) => i < HISTORY - length ? 0 : i + 1) };
}

Deno.test("a history gives as many windows as published: 0, 1, 3, 6 or 10 of each label by its length", () => {
  const points = (length: number) => windowsOf(historyOf(length), new Random(1), 10).length / 2;
  assert.deepEqual([2, 10, 11, 20, 21, 30, 31, 40, 41, 120, 200].map(points), [0, 0, 1, 1, 3, 3, 6, 6, 10, 10, 10]);
  assert.equal(windowsOf(historyOf(200), new Random(1), 1).length, 2, "at most one of each for validation");
});

Deno.test("windows end where published: after 20 items of the history if it has them, and before its target", () => {
  for (const [length, positive, negative] of [[200, 20, 19], [100, 120, 119], [21, 198, 198], [15, 198, 198]]) {
    const ends = [new Set<number>(), new Set<number>()];
    for (let seed = 0; seed < 400; seed++) {
      for (const window of windowsOf(historyOf(length), new Random(seed), 10)) {
        ends[window.negative === undefined ? 0 : 1].add(window.end);
        assert.ok(window.negative === undefined || window.negative >= 0 && window.negative < HISTORY - 1);
      }
    }
    const range = (set: Set<number>) => [Math.min(...set), Math.max(...set)];
    assert.deepEqual(ends.map(range), [[positive, HISTORY - 2], [negative, HISTORY - 2]], `${length} items`);
  }
});

/** Labels and ids of a split, by (sample, step, table). */
function read(dataset: Dataset, split: Split) {
  using reader = dataset.reader(split, dataset.samples(split));
  const { labels, dense, indices } = reader.read(0, dataset.samples(split));
  const ids = indices.map((row, k) => row - dataset.firstRows[k % SESSION_TABLES.length]);
  return { labels: [...labels], dense: dense.slice(), ids };
}

Deno.test("samples are windows of a user's history, with a drawn candidate where the label is 0", async () => {
  using directory = new TemporaryDirectory();
  const dataset = await smallSessions(directory.join("sessions"));
  const model = new SessionModel(1, 4000);
  assert.deepEqual([dataset.steps, dataset.tables, dataset.denseFeatures], [STEPS, 3, 1]);
  const history = new History();
  const { labels, dense, ids } = read(dataset, "train");
  assert.deepEqual(dense.slice(0, STEPS), Float32Array.from({ length: STEPS }, (_, j) => j / STEPS));
  assert.deepEqual([...new Set(labels)].sort(), [0, 1]);
  labels.forEach((label, sample) => {
    const of = ids.subarray(sample * STEPS * 3, (sample + 1) * STEPS * 3);
    const users = of.filter((_, k) => k % 3 === 0);
    assert.equal(new Set(users).size, 1);
    model.read(users[0] - 1, history);
    const items = of.filter((_, k) => k % 3 === 1);
    const categories = of.filter((_, k) => k % 3 === 2);
    const begins = Array.from({ length: HISTORY }, (_, i) => i);
    const steps = label === 1 ? STEPS : STEPS - 1;
    assert.ok(
      begins.some((begin) =>
        begin + steps < HISTORY &&
        items.subarray(0, steps).every((item, j) => item === history.items[begin + j]) &&
        categories.subarray(0, steps).every((category, j) => category === history.categories[begin + j])
      ),
      `sample ${sample} is a window before the target`,
    );
    if (label === 1) return;
    const drawn = history.negativeItems.indexOf(items[STEPS - 1]);
    assert.ok(drawn >= 0 && history.negativeCategories[drawn] === categories[STEPS - 1]);
    assert.ok(!history.items.subarray(0, HISTORY - 1).includes(items[STEPS - 1]), "not chosen by the user");
  });
});

Deno.test("the test split has users of its own, with their last steps and their target", async () => {
  using directory = new TemporaryDirectory();
  const dataset = await smallSessions(directory.join("sessions"));
  const usersOf = (split: Split) => new Set(read(dataset, split).ids.filter((_, k) => k % 3 === 0));
  const model = new SessionModel(1, 4000);
  const history = new History();
  const { labels, ids } = read(dataset, "test");
  labels.forEach((label, sample) => {
    model.read(ids[sample * STEPS * 3] - 1, history);
    const items = ids.subarray(sample * STEPS * 3, (sample + 1) * STEPS * 3).filter((_, k) => k % 3 === 1);
    assert.deepEqual(items, history.items.subarray(HISTORY - STEPS));
    assert.equal(label, history.label);
  });
  const [train, validation, test] = (["train", "validation", "test"] as const).map(usersOf);
  assert.equal(test.intersection(train).size, 0);
  assert.ok(validation.isSubsetOf(train), "the published validation split has the users of the train split");
  const clean = await smallSessions(directory.join("clean"), { validationUsers: "other" });
  const others = new Set(read(clean, "validation").ids.filter((_, k) => k % 3 === 0));
  assert.equal(others.intersection(train).size, 0);
  assert.deepEqual(read(clean, "train"), read(dataset, "train"));
});

Deno.test("the same seed gives the same sessions", async () => {
  using directory = new TemporaryDirectory();
  const ids: string[] = [];
  for (const [i, options] of [{}, {}, { seed: 2 }].entries()) {
    ids.push((await smallSessions(directory.join(`${i}`), options)).id);
  }
  assert.equal(ids[0], ids[1]);
  assert.notEqual(ids[0], ids[2]);
});

Deno.test("more samples than the users have are refused", async () => {
  using directory = new TemporaryDirectory();
  const samples = { train: 40_000, validation: 0, test: 0 };
  await assert.rejects(
    smallSessions(directory.join("sessions"), { samples }),
    (error) =>
      error instanceof UsageError &&
      /^Cannot make 40000 train samples: the users have \d+; ask for/.test(error.message),
  );
  await assert.rejects(
    smallSessions(directory.join("validation"), { samples: { train: 50, validation: 50, test: 0 } }),
    /Cannot make 50 validation samples/,
  );
});
