/** A log without a format or schema: what is guessed, reported and refused. */
import assert from "node:assert/strict";
import { AVAZU_TABLES } from "../../src/dataset/avazu_shape.ts";
import { guessFormat, type NamedFormat } from "../../src/dataset/guess_format.ts";
import { prepareDataset } from "../../src/dataset/prepare.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const ROWS = Array.from({ length: 200 }, (_, i) => `${i % 3 === 0 ? 1 : 0},${i % 7}.5,city${i % 20},${i % 2}`);
const CSV = `clicked,price,city,bought\n${ROWS.join("\n")}\n`;
const CRITEO = `0\t${Array(13).fill("1").join("\t")}\t${Array(26).fill("ab").join("\t")}\n`;

async function guess(content: string, named: NamedFormat = {}) {
  using directory = new TemporaryDirectory();
  const path = directory.join("log");
  Deno.writeTextFileSync(path, content);
  const notes: string[] = [];
  const { format, schema } = await guessFormat([path], named, () => {}, (note) => notes.push(note));
  const inferred = typeof schema === "string" ? undefined : schema;
  const label = inferred?.columns.find(({ kind }) => kind === "label")?.name;
  return { format, schema, label, notes: notes.map((note) => note.replaceAll(path, "log")) };
}

Deno.test("CSV is known by its content; its columns are inferred and told, with the ways to change them", async () => {
  const { format, label, notes } = await guess(CSV);
  assert.deepEqual([format, label], ["csv", "clicked"]);
  assert.deepEqual(notes, [
    "Columns of log, inferred from its content: label clicked; dense price; sparse city, bought",
    "If that is wrong: --label COLUMN names another label; hotset prepare --infer log > schema.json writes the columns " +
    "to be edited, for --schema schema.json",
  ]);
  assert.equal((await guess(CSV, { label: "bought" })).label, "bought");
  await assert.rejects(
    guess(CSV, { label: "bougth" }),
    /^UsageError: Cannot use the label bougth: .*did you mean "bought"\?$/,
  );
});

Deno.test("what is named is used; Criteo's format is known by its tabs, also if a line is malformed", async () => {
  assert.deepEqual(await guess(CSV, { schema: "s.json" }), {
    format: "csv",
    schema: "s.json",
    label: undefined,
    notes: [],
  });
  for (const content of [CRITEO, CRITEO.slice(0, 90) + "\n", "", "no separator\n"]) {
    assert.equal((await guess(content)).format, "criteo");
  }
  assert.equal((await guess(CSV, { format: "avazu" })).format, "avazu");
  await assert.rejects(guess(CRITEO, { label: "x" }), /^UsageError: Cannot use --label x with format criteo: /);
});

Deno.test("public logs are known by their first line and told; a format, a schema or a label overrides that", async () => {
  const avazu = `id,click,hour,${AVAZU_TABLES.map(({ name }) => name).join(",")}`;
  const logs = [
    ["avazu", `${avazu}\n${["1", "0", "14102100", ...AVAZU_TABLES.map(() => "x")].join(",")}\n`],
    ["taobao", "1,2268318,2520377,pv,1511544070\r\n"],
    ["movielens", "196\t242\t3\t881250949\n"],
  ] as const;
  for (const [format, content] of logs) {
    const found = await guess(content);
    assert.deepEqual([found.format, found.schema], [format, undefined]);
    assert.match(
      found.notes[0],
      new RegExp(`^log has the format ${format} \\(.*\\)\\. If that is wrong: --format csv`),
    );
    assert.deepEqual((await guess(content, { format })).notes, [], "what was said needs no note");
    assert.equal((await guess(content, { schema: "s.json" })).format, "csv");
  }
  const rows = Array.from(
    { length: 50 },
    (_, i) => ["1", i % 2, "14102100", ...AVAZU_TABLES.map(() => i % 5)].join(","),
  );
  const found = await guess([avazu, ...rows, ""].join("\n"), { label: "click" });
  assert.deepEqual([found.format, found.label], ["csv", "click"]);
  const further = await guess([`${avazu},price`, ...rows.map((row, i) => `${row},${i}.5`), ""].join("\n"));
  assert.equal(further.format, "csv", "the format would leave out the price");
  const ratings = Array.from({ length: 50 }, (_, i) => `${i % 9}::${i % 7}::${i % 5 + 1}::${964982703 + i}\n`).join("");
  assert.deepEqual((await guess(ratings)).format, "csv", "MovieLens' ratings.dat, whose columns are inferred");
  for (const line of ["1,2,3,pv,15", "196\t242\t7\t881250949", avazu.replace("C21", "C22")]) {
    assert.ok(
      !["avazu", "taobao", "movielens"].includes((await guess(`${line}\n`).catch(() => ({ format: "" }))).format),
    );
  }
});

Deno.test("a proposed schema is accepted as it is, and checked like a file", async () => {
  using directory = new TemporaryDirectory();
  const path = directory.join("log.csv");
  Deno.writeTextFileSync(path, CSV);
  const { schema } = await guess(CSV);
  const dataset = await prepareDataset({
    inputs: [path],
    out: directory.join("data"),
    format: "csv",
    schema: schema!,
    threads: 1,
  });
  assert.deepEqual([dataset.denseFeatures, dataset.tables], [1, 2]);
  const wrong = { columns: [{ name: "x", kind: "lable" }] } as never;
  await assert.rejects(
    prepareDataset({ inputs: [path], out: directory.join("other"), format: "csv", schema: wrong }),
    /^HotsetError: Cannot use the schema: column x/,
  );
});
