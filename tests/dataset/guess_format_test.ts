/** A log without a format or schema: what is guessed, reported and refused. */
import assert from "node:assert/strict";
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
