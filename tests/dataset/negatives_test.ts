/** Negatives that are drawn for logs of positives. */
import assert from "node:assert/strict";
import type { Dataset, Split } from "../../src/dataset/dataset.ts";
import { SPLITS } from "../../src/dataset/dataset.ts";
import { prepareDataset, type PrepareOptions } from "../../src/dataset/prepare.ts";
import { Random } from "../../src/random.ts";
import { slowTest } from "../support/series.ts";
import { denseOf, idsOf, labelsOf, TemporaryDirectory } from "./support.ts";

/** A log of pairs without labels, whose items have a brand and a price. */
const SCHEMA = {
  columns: [
    { name: "user", kind: "sparse" },
    { name: "item", kind: "sparse" },
    { name: "brand", kind: "sparse" },
    { name: "price", kind: "dense", transform: "none" },
    { name: "hour", kind: "dense", transform: "none" },
  ],
};
const HEADER = "user,item,brand,price,hour\n";
const NEGATIVES = { count: 3, item: ["item", "brand", "price"] };
const ITEMS = 30;

/** A row of a dataset, with the values that ids stand for. */
interface Sample {
  readonly split: Split;
  readonly label: number;
  readonly user: number;
  readonly item: number;
  readonly brand: number;
  readonly price: number;
  readonly hour: number;
}

function line(user: number, item: number, hour: number): string {
  return `${user},${item}${hour % 2 === 0 ? "" : ".0"},b${item % 7},${item * 10},${hour}\n`;
}

/** Pairs of users and items, some items far more often than others. */
function pairs(count: number, seed: number): string {
  const random = new Random(seed);
  const lines = Array.from({ length: count }, (_, i) => {
    return line(random.below(12), Math.floor(ITEMS * random.uniform() ** 3), i);
  });
  return lines.join("");
}

function prepare(directory: TemporaryDirectory, options: Partial<PrepareOptions>): Promise<Dataset> {
  const schema = directory.write("schema.json", JSON.stringify(SCHEMA));
  const inputs = [directory.write("log.csv", HEADER + pairs(200, 1))];
  const out = directory.join("data");
  return prepareDataset({ inputs, format: "csv", schema, out, groupBy: "user", negatives: NEGATIVES, ...options });
}

/** All samples; of items that training has not seen the price tells which they are. */
function samplesOf(dataset: Dataset): Sample[] {
  return SPLITS.flatMap((split) => {
    const [ids, dense] = [idsOf(dataset, split), denseOf(dataset, split)];
    return labelsOf(dataset, split).map((label, i) => ({
      split,
      label,
      ...{ user: ids[i][0][0], item: dense[i][0] / 10, brand: ids[i][2][0], price: dense[i][0], hour: dense[i][1] },
    }));
  });
}

Deno.test("each positive gets negatives that its user chose in no split, in its split and with the item's features", async () => {
  for (const [seed, power] of [[1, 0], [2, 0.75]]) {
    using directory = new TemporaryDirectory();
    const dataset = await prepare(directory, {
      testInputs: [directory.write("test.csv", HEADER + pairs(40, 7))],
      validationFraction: 0.2,
      negatives: { ...NEGATIVES, seed, power },
    });
    const samples = samplesOf(dataset);
    const chosen = new Set(samples.filter(({ label }) => label === 1).map(({ user, item }) => `${user} ${item}`));
    const positives = samples.filter(({ label }) => label === 1);
    const negatives = samples.filter(({ label }) => label === 0);
    assert.equal(positives.length, 240);
    assert.deepEqual(dataset.body.negatives, { drawn: negatives.length, missing: 720 - negatives.length });
    assert.equal(negatives.length, 720);
    for (const { user, item } of negatives) assert.ok(!chosen.has(`${user} ${item}`), `${user} chose ${item}`);
    for (const [i, { label }] of samples.entries()) {
      if (label === 0) continue;
      const context = ({ split, user, hour }: Sample) => ({ split, user, hour });
      for (const negative of samples.slice(i + 1, i + 4)) assert.deepEqual(context(negative), context(samples[i]));
    }
    const brands = new Map(positives.map(({ item, brand }) => [item, brand]));
    for (const { item, brand } of negatives) assert.equal(brand, brands.get(item));
  }
});

Deno.test("the same seed draws the same negatives, whatever threads and memory; another one others", async () => {
  using directory = new TemporaryDirectory();
  const draw = async (options: Partial<PrepareOptions>) => {
    const { id } = await prepare(directory, { out: directory.join(`${crypto.randomUUID()}`), ...options });
    return id;
  };
  const [one, again, other] = [
    await draw({ threads: 1 }),
    await draw({ threads: 3, memoryBytes: 2 ** 29 }),
    await draw({ negatives: { ...NEGATIVES, seed: 9 } }),
  ];
  assert.equal(one, again);
  assert.notEqual(one, other);
});

slowTest("little memory draws the same negatives in more parts", async () => {
  using directory = new TemporaryDirectory();
  const negatives = { ...NEGATIVES, count: 1500 };
  const splits = { validationFraction: 0, testFraction: 0 }; // parts end with splits, too
  const { id } = await prepare(directory, { negatives, ...splits, out: directory.join("many") });
  const little = { memoryBytes: 2 ** 27, out: directory.join("little") };
  assert.equal((await prepare(directory, { negatives, ...splits, ...little })).id, id);
});

Deno.test("negatives are uniform over items, or follow their uses in training to a power", async () => {
  using directory = new TemporaryDirectory();
  // Item 1 has 16 uses by users of its own, item 2 has 4, item 3 one; user 999 chose item 0 alone.
  const uses = [[1, 16], [2, 4], [3, 1]].flatMap(([item, count]) =>
    Array.from({ length: count }, (_, i) => line(100 * item + i, item, 0))
  );
  const log = directory.write("uses.csv", HEADER + uses.join("") + line(999, 0, 0));
  const shares = async (power: number) => {
    const negatives = { ...NEGATIVES, count: 2000, power };
    const splits = { validationFraction: 0, testFraction: 0 };
    const samples = samplesOf(await prepare(directory, { inputs: [log], negatives, ...splits })).slice(-2000);
    return [1, 2, 3].map((item) => samples.filter((sample) => sample.item === item).length / 2000);
  };
  const near = (found: number[], expected: number[]) =>
    found.forEach((share, i) => assert.ok(Math.abs(share - expected[i]) < 0.04, `${found}, not ${expected}`));
  near(await shares(0), [1 / 3, 1 / 3, 1 / 3]);
  near(await shares(0.5), [4 / 7, 2 / 7, 1 / 7]);
});

slowTest(
  "a user who chose nearly all gets what is left, and one who chose all gets none, which is counted",
  async () => {
    using directory = new TemporaryDirectory();
    const most = Array.from({ length: 200 }, (_, item) => line(1, item, 0)).join("");
    const log = directory.write("most.csv", HEADER + most + line(2, 200, 0));
    const dataset = await prepare(directory, { inputs: [log], validationFraction: 0, testFraction: 0 });
    const negatives = samplesOf(dataset).filter(({ label }) => label === 0);
    const ofMost = negatives.slice(0, 600);
    assert.ok(ofMost.every(({ item }) => item === 200));
    assert.deepEqual(dataset.body.negatives, { drawn: 603, missing: 0 });
    const all = directory.write("all.csv", HEADER + line(1, 1, 0) + line(1, 2, 1) + line(2, 1, 2));
    const { body: { negatives: few } } = await prepare(directory, {
      ...{ inputs: [all], validationFraction: 0, testFraction: 0 },
    });
    assert.deepEqual(few, { drawn: 3, missing: 6 });
  },
);

Deno.test("negatives that a log has stay, and get none of their own", async () => {
  using directory = new TemporaryDirectory();
  const log = directory.write("u.data", "1\t7\t5\t30\n2\t7\t1\t10\n1\t8\t4\t20\n2\t9\t5\t5\n");
  const dataset = await prepareDataset({
    ...{ inputs: [log], format: "movielens", groupBy: "user", out: directory.join("data") },
    ...{ validationFraction: 0, testFraction: 0, negatives: { count: 1, item: ["item"] } },
  });
  assert.deepEqual(labelsOf(dataset, "train"), [1, 0, 0, 1, 0, 1, 0]);
});

Deno.test("every row needs a user and an item", async () => {
  using directory = new TemporaryDirectory();
  for (const [row, place] of [[",3,b,1,0", "line 3: user is empty"], ["4,null,b,1,0", 'line 3: item is "null"']]) {
    const log = directory.write("missing.csv", `${HEADER}${line(1, 1, 0)}${row}\n`);
    await assert.rejects(prepare(directory, { inputs: [log] }), (error: Error) => error.message.includes(place));
  }
});

Deno.test("positives alone, and what cannot be drawn, are refused with the way out", async () => {
  using directory = new TemporaryDirectory();
  const advice = "draw negatives for them with --negatives 4 --group USER --item ITEM";
  const none = { negatives: undefined } as object;
  const cases: [Partial<PrepareOptions>, string][] = [
    [none, `without a column of kind label all rows are positives; ${advice}`],
    [{ negatives: { count: 0, item: ["item"] } }, "Cannot draw negatives: 0 is not a whole number from 1"],
    [{ negatives: { count: 1, item: [] } }, "name the columns of the item with --item"],
    [
      { negatives: { count: 1, item: ["items"] } },
      'the schema has no column items; did you mean "item"?',
    ],
    [{ negatives: { count: 1, item: ["price"] } }, "column price is not of kind sparse, as user and item must be"],
    [{ negatives: { count: 1, item: ["item", ""] } }, "the name of the column is empty"],
    [{ negatives: { count: 1, item: ["item", "user"] } }, "column user cannot be of the user and of the item"],
    [{ negatives: { count: 1, item: ["item"], power: 2 } }, "the power 2 is not a number from 0 to 1"],
  ];
  for (const [options, message] of cases) {
    await assert.rejects(prepare(directory, { testFraction: 0, validationFraction: 0, ...options }), (error: Error) => {
      assert.ok(error.message.endsWith(message), error.message);
      assert.ok(!error.message.includes("\n"));
      return true;
    });
  }
});
