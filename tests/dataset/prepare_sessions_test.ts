/** Sessions of a log of behaviour, compared with what its lines say. */
import assert from "node:assert/strict";
import { Interrupted } from "../../src/errors.ts";
import { type Dataset, type Split, SPLITS } from "../../src/dataset/dataset.ts";
import { prepareDataset, type PrepareOptions } from "../../src/dataset/prepare.ts";
import { sharedUsersNote } from "../../src/dataset/prepare_sessions.ts";
import { Random } from "../../src/random.ts";
import { STEPS } from "../../src/dataset/session_writer.ts";
import { idsOfDictionary } from "../../src/dataset/table_ids.ts";
import { TemporaryDirectory } from "./support.ts";

interface Line {
  readonly user: number;
  readonly item: number;
  readonly category: number;
  readonly time: number;
}

/** Rows of users with 1 to 250 items, in an order that is not that of time; times are often equal. */
function linesOf(seed: number, users = 24): Line[] {
  const random = new Random(seed);
  const lines: Line[] = [];
  for (let user = 0; user < users; user++) {
    const length = [1, 2, 11, 12, 25, 35, 45, 250][user % 8];
    for (let i = 0; i < length; i++) {
      const item = 500 + Math.floor(300 * random.uniform() ** 2);
      // Every tenth item is also in a second category.
      const category = 7000 + item % 30 + (item % 10 === 0 && random.below(2) === 1 ? 100 : 0);
      lines.push({ user: 90 + user, item, category, time: 1_511_600_000 + random.below(3000) + 300 * user });
    }
  }
  return lines;
}

const textOf = (lines: readonly Line[]) =>
  lines.map(({ user, item, category, time }) => `${user},${item},${category},pv,${time}\n`).join("");

/** The lines of each user by time; equal times in the order of the log. */
function historiesOf(lines: readonly Line[]): Map<number, Line[]> {
  return Map.groupBy([...lines].sort((a, b) => a.time - b.time), ({ user }) => user);
}

interface Session {
  readonly label: number;
  readonly user: number;
  /** Item and category, or undefined for padding. */
  readonly steps: readonly (readonly [number, number] | undefined)[];
}

/** The sessions of a split with their raw values. */
async function sessionsOf(dataset: Dataset, split: Split): Promise<Session[]> {
  const values = await Promise.all([
    rawValues(dataset, 0, 90, 200),
    rawValues(dataset, 1, 500, 800),
    rawValues(dataset, 2, 7000, 7200),
  ]);
  if (dataset.samples(split) === 0) return [];
  using reader = dataset.reader(split, dataset.samples(split));
  const { labels, indices, count } = reader.read(0, dataset.samples(split));
  const value = (k: number) => values[k % 3].get(indices[k] - dataset.firstRows[k % 3]);
  return Array.from({ length: count }, (_, s) => {
    const first = s * STEPS * 3;
    const users = new Set(Array.from({ length: STEPS }, (_, step) => value(first + 3 * step)));
    assert.equal(users.size, 1, "all steps have the user");
    const steps = Array.from({ length: STEPS }, (_, step) => {
      const [item, category] = [value(first + 3 * step + 1), value(first + 3 * step + 2)];
      assert.equal(item === undefined, category === undefined);
      return item === undefined ? undefined : [item, category!] as const;
    });
    return { label: labels[s], user: [...users][0]!, steps };
  });
}

/** The value of each id of a table, found by trying all values. */
async function rawValues(dataset: Dataset, table: number, from: number, to: number): Promise<Map<number, number>> {
  const ids = (await idsOfDictionary(dataset, [undefined, undefined, undefined]))[table];
  const found = new Map<number, number>();
  for (let value = from; value < to; value++) {
    const id = ids.idOf(String(value));
    if (id > 0) found.set(id, value);
  }
  return found;
}

function prepare(directory: TemporaryDirectory, lines: readonly Line[], more: Partial<PrepareOptions> = {}) {
  const input = directory.write("log.csv", textOf(lines));
  return prepareDataset({ inputs: [input], format: "taobao-sessions", out: directory.join("out"), ...more });
}

/** The users after the published quantile of last times. */
function testUsers(histories: Map<number, Line[]>): Set<number> {
  const last = [...histories].map(([user, rows]) => [user, rows.at(-1)!.time] as const);
  const times = last.map(([, time]) => time).sort((a, b) => a - b);
  return new Set(last.filter(([, time]) => time > times[Math.floor(times.length * 0.7)]).map(([user]) => user));
}

/** The history without its target as published: at most the last 200 items with the target. */
const before = (rows: readonly Line[]) => rows.slice(-200, -1).map(({ item, category }) => [item, category] as const);
const key = (step: readonly [number, number] | undefined) => String(step);

Deno.test("sessions of a log of behaviour are the windows of its users, with negatives of the log that they have not chosen", async () => {
  using directory = new TemporaryDirectory();
  const lines = linesOf(1);
  const histories = historiesOf(lines);
  const dataset = await prepare(directory, lines);
  assert.deepEqual(
    dataset.body.tables.map(({ rows }) => rows),
    (["user", "item", "category"] as const).map((name) => 1 + new Set(lines.map((line) => line[name])).size),
  );
  const corpus = new Set(lines.map(({ item, category }) => key([item, category])));
  for (const split of ["train", "validation"] as const) {
    const sessions = await sessionsOf(dataset, split);
    const counts = new Map<number, number[]>();
    for (const { label, user, steps } of sessions) {
      const known = before(histories.get(user)!);
      const padded = [...Array(200).fill(undefined), ...known];
      const length = label === 1 ? STEPS : STEPS - 1;
      const window = JSON.stringify(steps.slice(0, length));
      const ends = padded.map((_, i) => i + 1).filter((end) =>
        end >= length && JSON.stringify(padded.slice(end - length, end)) === window
      );
      assert.ok(ends.length > 0, `${split}: a window of user ${user}`);
      const perLabel = counts.get(user) ?? [0, 0];
      perLabel[label]++;
      counts.set(user, perLabel);
      if (label === 1) continue;
      assert.ok(corpus.has(key(steps.at(-1))), "a pair of the log");
      assert.ok(!known.some((step) => key(step) === key(steps.at(-1))), "not chosen by the user");
    }
    for (const [user, rows] of histories) {
      if (testUsers(histories).has(user)) continue;
      const tens = Math.floor((Math.min(rows.length, 200) - 1) / 10);
      const points = Math.min([0, 1, 3, 6][tens] ?? 10, split === "train" ? 10 : 1);
      assert.deepEqual(counts.get(user) ?? [0, 0], [points, points], `${split}: windows of ${rows.length} items`);
      counts.delete(user);
    }
    assert.deepEqual([...counts.keys()], [], "users after the quantile are in neither");
  }
});

Deno.test("the test split has the users who were active last, each with the last item or another one of the log", async () => {
  using directory = new TemporaryDirectory();
  const lines = linesOf(2, 48);
  const histories = historiesOf(lines);
  const dataset = await prepare(directory, lines);
  const sessions = await sessionsOf(dataset, "test");
  assert.deepEqual(new Set(sessions.map(({ user }) => user)), testUsers(histories));
  assert.equal(sessions.length, testUsers(histories).size);
  assert.deepEqual(new Set(sessions.map(({ label }) => label)), new Set([0, 1]));
  const categories = new Map(
    historiesOf(lines.map((line) => ({ ...line, user: 0 }))).get(0)!.map((line) => [line.item, line.category] as const),
  );
  for (const { label, user, steps } of sessions) {
    const rows = histories.get(user)!;
    const history = before(rows).slice(-(STEPS - 1));
    assert.deepEqual(steps.slice(0, -1), [...Array(STEPS - 1 - history.length).fill(undefined), ...history]);
    const { item, category } = rows.at(-1)!;
    const [target, ofTarget] = steps.at(-1)!;
    assert.equal(target === item, label === 1);
    assert.equal(ofTarget, label === 1 ? category : categories.get(target), "the category of its last row");
  }
});

Deno.test("a validation fraction takes users of its own out of the train split", async () => {
  using directory = new TemporaryDirectory();
  const lines = linesOf(3, 48);
  const users = async (dataset: Dataset) =>
    new Map(
      await Promise.all(SPLITS.map(async (split) =>
        [
          split,
          new Set((await sessionsOf(dataset, split)).map(({ user }) => user)),
        ] as const
      )),
    );
  const whole = await prepare(directory, lines);
  const published = await users(whole);
  assert.match(sharedUsersNote(whole)!, /^The validation split has users of the train split/);
  assert.ok(published.get("validation")!.isSubsetOf(published.get("train")!));
  const other = await prepare(directory, lines, {
    ...{ validationFraction: 0.25, testFraction: 0.5, out: directory.join("apart") },
  });
  assert.equal(sharedUsersNote(other), undefined);
  const apart = await users(other);
  assert.ok(apart.get("validation")!.size > 3);
  assert.ok(apart.get("validation")!.isDisjointFrom(apart.get("train")!));
  assert.ok(apart.get("test")!.isDisjointFrom(apart.get("validation")!.union(apart.get("train")!)));
  assert.ok(apart.get("test")!.size > published.get("test")!.size);
});

Deno.test("the same log gives the same sessions, and what sessions do not have is refused", async () => {
  using directory = new TemporaryDirectory();
  const lines = linesOf(4);
  const { id } = await prepare(directory, lines);
  assert.equal((await prepare(directory, lines, { out: directory.join("again") })).id, id);
  assert.deepEqual(
    [...Deno.readDirSync(directory.path)].map(({ name }) => name).filter((name) => /rows/.test(name)),
    [],
  );
  await assert.rejects(
    prepare(directory, lines, { minFrequency: 2 }),
    /^UsageError: Cannot use --min-frequency with format taobao-sessions: its splits and negatives are those of TBSM$/,
  );
  for (const shares of [{ testFraction: 1 }, { testFraction: -0.5 }, { validationFraction: 1 }]) {
    await assert.rejects(prepare(directory, lines, shares), /^UsageError: Cannot split: validation/);
  }
  await assert.rejects(
    prepare(directory, lines, { groupBy: "user" }),
    /Cannot use --group with format taobao-sessions/,
  );
  await assert.rejects(
    prepare(directory, lines, { memoryBytes: 2 ** 28, inputs: [directory.write("bad.csv", "1,2,3,pv,then\n")] }),
    /bad.csv: line 1: time is "then"/,
  );
  const same = lines.map((line) => ({ ...line, item: 500, category: 7000 }));
  await assert.rejects(prepare(directory, same), /Cannot make sessions of .*log.csv: a user has chosen all its items/);
});

Deno.test("interrupted, sessions go on from the finished steps to the same bytes, and leave nothing else", async () => {
  using directory = new TemporaryDirectory();
  const lines = linesOf(5);
  const { id } = await prepare(directory, lines, { out: directory.join("whole") });
  const names = () => [...Deno.readDirSync(directory.path)].map(({ name }) => name).filter((name) => /out/.test(name));
  for (const when of ["read", "count", "sessions"]) {
    let fraction = 0;
    const onProgress = (stage: string, share: number) => {
      // The rows are encoded before sessions are made of them.
      if (stage === when || when === "sessions" && stage === "encode" && share < fraction) throw new Interrupted("x");
      fraction = stage === "encode" ? share : 0;
    };
    await assert.rejects(prepare(directory, lines, { onProgress }), Interrupted, when);
    assert.match(names().join(), /^\.out\.stage-[0-9a-f]{16}$/, when);
    const stages = new Set<string>();
    const dataset = await prepare(directory, lines, { onProgress: (stage) => stages.add(stage) });
    assert.equal(stages.has("read"), when !== "sessions", "the rows are not read again");
    assert.equal(dataset.id, id);
    assert.deepEqual(names(), ["out"]);
    Deno.removeSync(dataset.directory, { recursive: true });
  }
});
