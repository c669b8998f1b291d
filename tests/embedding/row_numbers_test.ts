/** Numbers of rows stay when tables grow and rows are dropped. */
import assert from "node:assert/strict";
import { NO_ROW } from "../../src/embedding/stores/row_page.ts";
import { RowNumbers } from "../../src/embedding/stores/row_numbers.ts";
import { Random } from "../../src/random.ts";
import { GrowingTables } from "../support/growing_tables.ts";
import { seriesLength } from "../support/series.ts";

const DIM = 3;

/** Compares the numbers of all rows, the rows of all numbers, and initial values. */
function expectNumbers(numbers: RowNumbers, tables: GrowingTables, random: Random): void {
  const { rows } = tables;
  assert.deepEqual(rows.map((_, row) => numbers.numberOf(row)), rows.map(({ number }) => number));
  const rowOf = new Map(rows.map(({ number }, row) => [number, row]));
  for (let number = 0; number < numbers.next + 3; number++) {
    assert.equal(numbers.rowOf(number), rowOf.get(number) ?? NO_ROW, `number ${number}`);
  }
  assert.equal(numbers.rowOf(NO_ROW), NO_ROW, "an unused place of a page");
  const initial = numbers.initialRows({ dim: DIM });
  for (const [first, count] of [[0, rows.length], [random.below(rows.length), 1]]) {
    const weights = new Float32Array(1 + count * DIM);
    initial.write(first, count, weights, 1);
    assert.deepEqual([...weights.subarray(1)], rows.slice(first, first + count).flatMap((row) => [...row.initial]));
  }
}

Deno.test("a row keeps its number and its initial values whatever grows and is dropped, and no number is used again", () => {
  for (let chain = 0; chain < seriesLength({ test: 20, all: 200, evidence: 2_000 }); chain++) {
    const random = new Random(chain, 3);
    const tables = new GrowingTables([1 + random.below(9), 1, 1 + random.below(30)], DIM, chain - 3);
    expectNumbers(tables.numbers, tables, random);
    for (let growth = 0; growth < 6; growth++) {
      tables.grow(random, [0, 0, .1, .6, 1][random.below(5)], [0, 1, 7][random.below(3)]);
      const { numbers, tableRows } = tables;
      expectNumbers(numbers, tables, random);
      expectNumbers(RowNumbers.from(numbers.words, tableRows, "a file"), tables, random);
    }
  }
});

Deno.test("words that do not number the rows of a model are refused", () => {
  const random = new Random(8, 3);
  const tables = new GrowingTables([4, 9], DIM, 1);
  for (let growth = 0; growth < 3; growth++) tables.grow(random, .3, 4);
  const { numbers: { words }, tableRows } = tables;
  const read = (words: Uint32Array, rows = tableRows) => RowNumbers.from(words, rows, "a file");
  const refusal = { code: "damaged", message: "Cannot read a file: it does not number the rows of these tables" };
  assert.throws(() => read(words, tableRows.map((rows) => rows + 1)), refusal);
  const changed = [
    ...words.keys().map((length) => words.slice(0, length)),
    ...words.keys().flatMap((at) => [0, words[at] + 1, NO_ROW].map((value) => words.with(at, value))),
  ];
  let refused = 0;
  for (const [i, words] of changed.entries()) {
    let numbers: RowNumbers;
    try {
      numbers = read(words);
    } catch (error) {
      assert.throws(() => read(words), refusal, String(error));
      refused++;
      continue;
    }
    // A seed, say, is another one: rows still have numbers of their own.
    const found = tables.rows.map((_, row) => numbers.numberOf(row));
    assert.deepEqual(found.map((number) => numbers.rowOf(number)), [...found.keys()], `change ${i}`);
    assert.ok(found.every((number) => number < numbers.next));
  }
  assert.ok(refused > changed.length / 3, `${refused} of ${changed.length}`);
});

Deno.test("numbers are scattered if dropped rows have left many gaps between few rows", () => {
  const areScattered = (gaps: number, behind: number) => {
    const row = Uint32Array.from({ length: gaps }, (_, i) => i);
    const kept = { from: row.map((i) => 2 * i), row, rows: new Uint32Array(gaps).fill(1) };
    const numbers = RowNumbers.first(1, [2 * gaps + behind]);
    return numbers.grown({ kept, dropped: [gaps] }, [gaps + behind], 1).areScattered;
  };
  assert.deepEqual([areScattered(65_535, 9), areScattered(65_536, 9), areScattered(65_600, 5_000_000)], [
    false,
    true,
    false,
  ]);
});

Deno.test("more rows than there are numbers are refused", () => {
  const rows = 4_294_967_000;
  const numbers = RowNumbers.first(1, [rows]);
  const kept = { from: Uint32Array.of(0), row: Uint32Array.of(0), rows: Uint32Array.of(rows) };
  const grow = (more: number) => numbers.grown({ kept, dropped: [0] }, [rows + more], 1);
  grow(294);
  assert.throws(
    () => grow(295),
    { message: "Cannot grow: 4294967295 rows have been created, and at most 4294967294 are supported" },
  );
});
