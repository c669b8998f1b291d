import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { encodeWith, prepareDataset, type PrepareOptions } from "../../src/dataset/prepare.ts";
import { allLines, readNotes } from "../../src/dataset/read_account.ts";
import { countLines, LineCounter, lineOfRecord } from "../../src/dataset/text_lines.ts";
import { criteoLine, labelsOf, TemporaryDirectory } from "./support.ts";
import { slowTest } from "../support/series.ts";

const SCHEMA = {
  delimiter: "\t",
  columns: [{ name: "y", kind: "label" }, { name: "user", kind: "sparse" }, { name: "title", kind: "sparse" }],
};
const COMMAS = { delimiter: ",", quote: '"' };

function prepare(directory: TemporaryDirectory, text: string, options: Partial<PrepareOptions> = {}) {
  const schema = directory.write("schema.json", JSON.stringify(SCHEMA));
  const input = directory.write("log.tsv", `y\tuser\ttitle\n${text}`);
  const splits = { validationFraction: 0, testFraction: 0 };
  return prepareDataset({ inputs: [input], format: "csv", schema, out: directory.join("out"), ...splits, ...options });
}

/** Rows number `first` to `last`. */
function rows(first: number, last: number): string {
  return Array.from({ length: last - first + 1 }, (_, i) => `${i % 2}\tu${first + i}\ttitle\n`).join("");
}

const TEXTS: [text: string, lines: number, blank: number, records: number, quoted: number][] = [
  ["", 0, 0, 0, 0],
  ["a,b", 1, 0, 1, 0],
  ["a,b\n\nc,d\n", 3, 1, 2, 0],
  ["a,b\r\n\r\nc,d\r\n", 3, 1, 2, 0],
  ["a,b\rc,d\r", 2, 0, 2, 0],
  ['a,"b\n\nc"\nd,e\n', 4, 0, 2, 2],
  ['"a\r\nb","c\rd"\r\n', 3, 0, 1, 2],
  ['a,"b ""\n"" c"\n', 2, 0, 1, 1],
  ['a,b "c\nd", e\n', 2, 0, 2, 0],
  ['a, "c\nd", e\n', 2, 0, 2, 0],
  ['"",""\n"a"', 2, 0, 2, 0],
  ['a,"open\nb,c\n', 2, 0, 1, 1],
  ['a,"open\nb,c', 2, 0, 1, 1],
  ['\ufeff"a\nb",c\n', 2, 0, 1, 1],
];

Deno.test("lines, blank lines, records and lines within quotes are told apart, with any line end", async () => {
  using directory = new TemporaryDirectory();
  for (const [text, ...expected] of TEXTS) {
    const file = { path: directory.write("text", text), content: "plain" } as const;
    const { lines, blank, records, quoted } = await countLines(file, COMMAS, 2);
    assert.deepEqual([lines, blank, records, quoted], expected, JSON.stringify(text));
  }
  const double = { path: directory.write("text", 'a::"b\n":"::c\nd::e:"\n'), content: "plain" } as const;
  const counted = await countLines(double, { delimiter: "::", quote: '"' }, 3);
  assert.deepEqual([counted.lines, counted.records, counted.quoted], [3, 2, 1]);
});

Deno.test("a text is counted alike however it is cut into pieces", () => {
  const character = fc.constantFrom("a", ",", '"', "\n", "\r", "\r\n", ":", "::", '""', ',"', '",');
  fc.assert(
    fc.property(
      fc.array(character, { maxLength: 60 }),
      fc.array(fc.nat(60)),
      fc.constantFrom(",", "::"),
      (parts, cuts, delimiter) => {
        const bytes = new TextEncoder().encode(parts.join(""));
        const count = (ends: number[]) => {
          const counter = new LineCounter({ delimiter, quote: '"' }, 3);
          let from = 0;
          for (const end of ends) {
            counter.take(bytes.subarray(from, end));
            from = end;
          }
          return counter.end();
        };
        const whole = count([bytes.length]);
        assert.deepEqual(
          count([...cuts.map((c) => Math.min(c, bytes.length)).sort((a, b) => a - b), bytes.length]),
          whole,
        );
        assert.equal(
          whole.lines,
          whole.records + whole.blank + whole.quoted,
        );
      },
    ),
    { seed: 1, numRuns: 2000 },
  );
});

Deno.test("an error names the line on which its row begins, whatever quoted fields before it hold", async () => {
  using directory = new TemporaryDirectory();
  const text = '1\tu\t"two\nlines"\n\n0\tu\t"a\r\n\nb"\n\tu\tx\n';
  const message = `Cannot read ${directory.join("log.tsv")}: line 8: y is empty`;
  await assert.rejects(prepare(directory, text), { message });
  for (const [row, reason] of [["0\tu", "2 columns instead of 3"], ['0\t"u"x\ty', "a misplaced quote"]]) {
    const message = `Cannot read ${directory.join("log.tsv")}: line 8: ${reason}`;
    await assert.rejects(prepare(directory, text.replace("\n\tu\tx", `\n${row}`)), { message });
  }
  const file = { path: directory.join("log.tsv"), content: "plain" } as const;
  const lines = await Promise.all([1, 2, 3, 4].map((row) => lineOfRecord(file, { delimiter: "\t", quote: '"' }, row)));
  assert.deepEqual(lines, [1, 2, 5, 8]);
});

Deno.test("a quote that swallows ten rows or more ends the work, where it begins", async () => {
  using directory = new TemporaryDirectory();
  for (const swallowed of [10, 200, 4000]) {
    for (const onBadRow of ["fail", "skip"] as const) {
      const text = `${rows(1, 100)}1\tu\t"never closed\n${rows(1, swallowed - 1)}1\tu\ta 12"\n${rows(1, 5)}`;
      await assert.rejects(prepare(directory, text, { onBadRow }), {
        name: "HotsetError",
        message:
          `Cannot read ${
            directory.join("log.tsv")
          }: line 102: a quoted field begins that contains ${swallowed} line ends and ` +
          `as many delimiters as ${swallowed} rows; if quotes are ordinary characters here, write "quote": "" in the schema`,
      });
      const schema = directory.write("none.json", JSON.stringify({ ...SCHEMA, quote: "" }));
      const dataset = await prepare(directory, text, { onBadRow, schema });
      assert.equal(dataset.samples("train"), 106 + swallowed, "the way out");
    }
  }
});

Deno.test("a header whose quote swallows rows ends the work", async () => {
  using directory = new TemporaryDirectory();
  const schema = directory.write("x.json", JSON.stringify({ ...SCHEMA, delimiter: "," }));
  const input = directory.write("log.csv", 'y,user,title,"z\n1,u,a,"\n0,u,b,c\n');
  for (const onBadRow of ["fail", "skip"] as const) {
    const options = { inputs: [input], format: "csv", schema, out: directory.join("out"), onBadRow } as const;
    await assert.rejects(
      prepareDataset(options),
      /^HotsetError: Cannot read .*log.csv: line 1: a quote of the header is not closed$/,
    );
  }
});

Deno.test("fewer swallowed rows, and very long fields, are told of with their line", async () => {
  using directory = new TemporaryDirectory();
  const few = await prepare(directory, `${rows(1, 3)}1\tu\t"open\n${rows(1, 8)}1\tu\tclosed"\n${rows(1, 2)}`);
  const advice = 'if " is an ordinary character here, write "quote": "" in the schema';
  assert.deepEqual(readNotes(few.body), [
    `${directory.join("log.tsv")}: line 5: a quoted field begins that contains 9 line ends; ${advice}`,
    "16 lines read: 6 rows, 1 header, 9 within quoted fields",
  ]);
  const long = await prepare(directory, `1\tu\t"${"a line of prose\n".repeat(150)}"\n${rows(1, 3)}`);
  assert.match(readNotes(long.body)[0], /line 2: a quoted field begins that contains 150 line ends/);
  assert.deepEqual(labelsOf(long, "train"), [1, 0, 1, 0]);
  const short = await prepare(directory, `1\tu\t"${"a line of prose\n".repeat(15)}"\n${rows(1, 3)}`);
  assert.deepEqual(readNotes(short.body), ["20 lines read: 4 rows, 1 header, 15 within quoted fields"]);
});

Deno.test("lines that a malformed row swallows are counted when it is skipped", async () => {
  using directory = new TemporaryDirectory();
  const texts: [text: string, rows: number, quoted: number, skippedRows: number, skipped: number][] = [
    [`${rows(1, 99)}1\tu\t"never closed\n${rows(1, 3800)}`, 99, 0, 1, 3801],
    [`1\tu\t"a\nb"\n${rows(1, 9)}7\tu\t"c\nd\ne"\n\n${rows(1, 9)}`, 19, 1, 1, 3],
    [`1\tu\n${rows(1, 9)}1\tu\tv\tw\n2\tu\tv\n`, 9, 0, 3, 3],
  ];
  for (const [text, kept, quoted, skippedRows, skipped] of texts) {
    const { body } = await prepare(directory, text, { onBadRow: "skip" });
    const lines = 1 + text.split("\n").length - 1;
    const blank = text.includes("\n\n") ? 1 : 0;
    assert.deepEqual(allLines(body), { read: lines, header: 1, blank, quoted, skipped });
    assert.equal(body.skippedRows, skippedRows);
    assert.equal(body.splits.train.samples, kept);
    assert.match(readNotes(body).join("\n"), new RegExp(`of skipped rows`));
  }
});

Deno.test("criteo: lines are rows, blank or skipped; dlrm's binary has none", async () => {
  using directory = new TemporaryDirectory();
  const row = criteoLine("1", ["1"], ["a"]);
  const input = directory.write("log.tsv", `${row}\n${row}short\n\r\n${row}`);
  const splits = { validationFraction: 0, testFraction: 0 };
  const options = {
    inputs: [input],
    format: "criteo",
    out: directory.join("out"),
    ...splits,
    onBadRow: "skip",
  } as const;
  const dataset = await prepareDataset(options);
  assert.deepEqual(allLines(dataset.body), { read: 6, header: 0, blank: 2, quoted: 0, skipped: 1 });
  assert.deepEqual(readNotes(dataset.body), [
    "1 malformed row was skipped",
    "6 lines read: 3 rows, 2 blank, 1 of skipped rows",
  ]);
  const binary = directory.write("log.bin", new Uint8Array(Int32Array.from({ length: 40 }, () => 1).buffer));
  assert.equal(allLines((await prepareDataset({ ...options, inputs: [binary], format: "dlrm" })).body), null);
  const encoded = await encodeWith(dataset, [input], { out: directory.join("encoded"), onBadRow: "skip" });
  assert.equal(allLines(encoded.dataset.body)!.read, 6);
});

slowTest("criteo: a compressed log has the lines of the plain one, whether or not the last one ends", async () => {
  using directory = new TemporaryDirectory();
  const row = criteoLine("1", ["1"], ["a"]);
  for (const text of [`${row}${row}`, `${row}${row.slice(0, -1)}`, `${row}\n`]) {
    const accounts = [];
    for (const bytes of [new TextEncoder().encode(text), gzipSync(text)]) {
      const { body } = await prepareDataset({
        inputs: [directory.write("log", bytes)],
        format: "criteo",
        out: directory.join("out"),
        validationFraction: 0,
        testFraction: 0,
      });
      accounts.push(allLines(body));
    }
    assert.deepEqual(accounts[1], accounts[0]);
  }
});
