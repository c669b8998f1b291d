/** Weights of the values of bags: read from a column, in every notation, and refused where they are malformed. */
import assert from "node:assert/strict";
import { type Dataset, SPLITS } from "../../src/dataset/dataset.ts";
import { encodeWith, prepareDataset, type PrepareOptions } from "../../src/dataset/prepare.ts";
import { RowEncoder } from "../../src/dataset/row_encoder.ts";
import { parseSchema } from "../../src/dataset/schema.ts";
import { writeRows } from "../../src/dataset/write_rows.ts";
import { HotsetError } from "../../src/errors.ts";
import { idsOf, TemporaryDirectory } from "./support.ts";
import { tinyDataset } from "../support/tiny_dataset.ts";

const COLUMNS = [
  { name: "y", kind: "label" },
  { name: "user", kind: "sparse" },
  { name: "share", kind: "weights", of: "genre" }, // its place does not matter
  { name: "genre", kind: "bag" },
  { name: "word", kind: "bag" },
];
const HEADER = "y,user,genre,share,word\n";
const LINES = ["1,ann,a|b,0.5|-2,x|y", "0,bob,,,x", "1,ann,b, 1e-1 ,", "0,cem,a|a|c,1|0|3.25,z|x|x"];
const WEIGHTS = [[0.5, -2], [], [Math.fround(0.1)], [1, 0, 3.25]];

async function prepare(
  directory: TemporaryDirectory,
  text: string,
  options: Partial<PrepareOptions> = {},
  columns: readonly object[] = COLUMNS,
): Promise<Dataset> {
  const schema = directory.write("schema.json", JSON.stringify({ columns }));
  const inputs = [directory.write("log.csv", text)];
  const out = directory.join(crypto.randomUUID());
  const fractions = { validationFraction: 0, testFraction: 0 };
  return await prepareDataset({ inputs, format: "csv", schema, out, threads: 1, ...fractions, ...options });
}

/** Weights of all samples of a split: (samples)(tables)(lookups of the bag). */
function weightsOf(dataset: Dataset, split: typeof SPLITS[number] = "train"): number[][][] {
  const samples = dataset.samples(split);
  using reader = dataset.reader(split, samples);
  const { lookupWeights, offsets } = reader.read(0, samples);
  return Array.from({ length: samples }, (_, s) =>
    Array.from({ length: dataset.tables }, (_, t) => {
      const bag = s * dataset.tables + t;
      return [...lookupWeights!.subarray(offsets![bag], offsets![bag + 1])];
    }));
}

/** The weights by table that a dataset must have: those of genres, and 1 for all other lookups. */
function expected(dataset: Dataset, weights: number[][] = WEIGHTS): number[][][] {
  return idsOf(dataset, "train").map(([user, , word], s) => [user.map(() => 1), weights[s], word.map(() => 1)]);
}

Deno.test("weights of a column of text lie beside the lookups of their bag, those of other tables are 1", async () => {
  using directory = new TemporaryDirectory();
  const dataset = await prepare(directory, HEADER + LINES.join("\n") + "\n");
  assert.deepEqual(dataset.body.tables.map(({ weights }) => weights), [undefined, "share", undefined]);
  assert.deepEqual(weightsOf(dataset), expected(dataset));
  const [first] = dataset.iterate("train", 3);
  assert.deepEqual([...first.lookupWeights!], expected(dataset).slice(0, 3).flat(2));

  // Other files by the same encoding.
  const other = directory.write("other.csv", "user,share,genre,word\nann,7,a,\ndan,-1|2,c|new,x\n");
  const { dataset: encoded } = await encodeWith(dataset, [other], { out: directory.join("other") });
  assert.deepEqual(weightsOf(encoded, "test"), [[[1], [7], []], [[1], [-1, 2], [1]]]);
});

Deno.test("weights may be lists of Parquet and lists in brackets, and validation and test have them too", async () => {
  using directory = new TemporaryDirectory();
  const parquet = directory.join("log.parquet");
  await writeRows(
    LINES.map((line) => {
      const [y, user, genre, share, word] = line.split(",");
      const list = (text: string) => text === "" ? [] : text.split("|");
      return { y: Number(y), user, genre: list(genre), share: list(share).map(Number), word: list(word) };
    }),
    parquet,
  );
  const ofLists = await prepare(directory, "", { inputs: [parquet], format: "parquet" });
  assert.deepEqual(weightsOf(ofLists), expected(ofLists));
  const brackets = COLUMNS.map((column) =>
    column.name === "genre" ? { ...column, brackets: true, separator: "," } : column
  );
  const text = HEADER + `1,ann,"['a', 'b']","[0.5, -2]",x\n0,bob,[],[],x\n1,cem,[c],[3],x\n0,ann,"[a, b]","[1,2]",y\n`;
  const options = { validationFraction: 0.25, testFraction: 0.25 };
  const inBrackets = await prepare(directory, text, options, brackets);
  assert.deepEqual(SPLITS.flatMap((split) => weightsOf(inBrackets, split).map(([, genre]) => genre)), [
    ...[[0.5, -2], [], [3], [1, 2]],
  ]);
});

Deno.test("a malformed weight is an error with its line, or the row is left out", async () => {
  using directory = new TemporaryDirectory();
  const cases: [field: string, reason: RegExp][] = [
    ["a|b,nan|1", /share is "nan\|1", not one finite number for each value of genre$/],
    ["a|b,1|inf", /not one finite number/],
    ["a|b,1|1e39", /not one finite number/],
    ["a|b,1", /share is "1", not one/],
    ["a,1|2", /not one finite number/],
    ["a|b,1|", /not one finite number/],
    ["a|b,1|x", /not one finite number/],
    ["a,1_0", /not one finite number/],
    ["a,", /share is empty, but genre is not$/],
    [",2", /share is "2", not one/],
  ];
  for (const [fields, reason] of cases) {
    const text = `${HEADER}${LINES[0]}\n1,ann,${fields},x\n${LINES[3]}\n`;
    await assert.rejects(prepare(directory, text), (error) => {
      assert.ok(error instanceof HotsetError && error.code === "bad-row", `${error}`);
      assert.match(error.message, /log\.csv: line 3: /);
      assert.match(error.message, reason);
      return true;
    });
  }
  const text = `${HEADER}${LINES[0]}\n1,ann,a,nan,x\n${LINES[3]}\n`;
  const kept = await prepare(directory, text, { onBadRow: "skip" });
  assert.deepEqual(weightsOf(kept), expected(kept, [WEIGHTS[0], WEIGHTS[3]]));

  const parquet = directory.join("log.parquet");
  const row = { y: 1, user: "ann", genre: ["a", "b"], word: ["x"] };
  await writeRows([{ ...row, share: [1, 2] }, { ...row, share: [1, NaN] }], parquet);
  await assert.rejects(
    prepare(directory, "", { inputs: [parquet], format: "parquet" }),
    /log\.parquet: row 2: share is .*, not one finite number for each value of genre/,
  );
});

Deno.test("a schema with weights of no bag, or of one bag twice, is refused", () => {
  const parse = (...columns: object[]) => parseSchema("s.json", JSON.stringify({ columns: [...COLUMNS, ...columns] }));
  const share = (of: string) => ({ name: "other", kind: "weights", of });
  assert.throws(() => parse(share("genres")), /other: of: the schema has no column genres; did you mean "genre"\?/);
  assert.throws(() => parse(share("user")), /other: user has kind sparse, and weights need a bag/);
  assert.throws(() => parse(share("genre")), /other: another column has the weights of genre/);
  assert.throws(() => parse({ name: "other", kind: "weights" }), /column other has of/);
});

Deno.test("rows in memory get the weights that their file gets, and the same errors", async () => {
  using directory = new TemporaryDirectory();
  const dataset = await prepare(directory, HEADER + LINES.join("\n") + "\n");
  const encoder = await RowEncoder.load(dataset);
  assert.deepEqual(encoder.columns, ["user", "genre", "word", "share"]);
  const rows = LINES.map((line) => {
    const [, user, genre, share, word] = line.split(",");
    return { user, genre, share, word };
  });
  const all = expected(dataset).flat(2);
  assert.deepEqual([...encoder.encode(rows, 0, 4).lookupWeights!], all);
  const typed = rows.map((row, i) => ({ ...row, share: WEIGHTS[i] }));
  assert.deepEqual([...encoder.encode(typed, 0, 4).lookupWeights!], all);
  const many = [{ ...rows[0], genre: Array(500).fill("a"), share: Array(500).fill(0.25) }, rows[3]];
  const { lookupWeights, offsets } = encoder.encode(many, 0, 2);
  assert.deepEqual([...lookupWeights!.subarray(offsets![1], offsets![2])], Array(500).fill(0.25));
  assert.equal(lookupWeights!.length, offsets![6]);
  for (const share of [[1], [1, NaN], [1, null], [1, "x"], "1|inf", "1", [1, Infinity], [1, 2, 3], [1, 1e39]]) {
    assert.throws(
      () => encoder.encode([rows[1], { ...rows[0], share }], 0, 2),
      /Cannot score row 1 \(from 0\): share is .*, not one finite number for each value of genre/,
    );
  }
  const { share: _, ...without } = rows[0];
  assert.throws(() => encoder.encode([without], 0, 1), /row 0 \(from 0\): it has no column share/);
});

Deno.test("negatives have the bag of their item with its weights", async () => {
  using directory = new TemporaryDirectory();
  const columns = [
    { name: "user", kind: "sparse" },
    { name: "item", kind: "sparse" },
    { name: "genre", kind: "bag" },
    { name: "share", kind: "weights", of: "genre" },
  ];
  const items = ["0,a|b,1|2", "1,c,3", "2,,", "3,a|c|d,4|5|6"];
  const lines = ["ann", "bob", "cem"].flatMap((user, i) => [0, 1].map((k) => `${user},${items[(i + k) % 4]}`));
  const negatives = { count: 2, item: ["item", "genre"] };
  const text = `user,item,genre,share\n${lines.join("\n")}\n`;
  const dataset = await prepare(directory, text, { negatives, groupBy: "user" }, columns);
  const ids = idsOf(dataset, "train");
  assert.ok(ids.length > lines.length);
  const found = new Map<number, string>();
  weightsOf(dataset).forEach(([, , genre], s) => {
    const item = ids[s][1][0];
    assert.equal(`${genre}`, found.get(item) ?? `${genre}`, "an item always has the same weights");
    found.set(item, `${genre}`);
  });
  assert.deepEqual([...found.values()].sort(), ["", "1,2", "3", "4,5,6"]);
});

Deno.test("weights that are damaged on disk are refused with their sample, and plain datasets have no file of them", () => {
  using directory = new TemporaryDirectory();
  const options = { samples: { train: 20, validation: 2, test: 2 }, tableRows: [5, 9], denseFeatures: 1, bags: true };
  let drawn = 0;
  const weight = () => drawn++ === 30 ? Infinity : 1;
  const dataset = tinyDataset(directory.join("damaged"), { ...options, seed: 1, skew: 1, weight });
  using reader = dataset.reader("train", 20);
  const { offsets } = reader.readLookups(0, 20);
  const sample = Math.floor((offsets!.findIndex((end) => end > 30) - 1) / 2);
  assert.throws(
    () => reader.read(0, 20),
    new RegExp(`train sample ${sample}: the weight Infinity of a lookup is not a finite number`),
  );
  const plain = tinyDataset(directory.join("plain"), { ...options, seed: 1, skew: 1 });
  assert.ok([...Deno.readDirSync(plain.directory)].every(({ name }) => !name.includes("weights")));
  using samples = plain.reader("train", 20);
  assert.equal(samples.read(0, 20).lookupWeights, undefined);
});
