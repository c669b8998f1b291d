/** A single value in memory is encoded, or refused, like the same field of a log in DuckDB. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Engine, quoted } from "../../src/dataset/duckdb.ts";
import { fieldBuilder, fillOf, parsedRows } from "../../src/dataset/fields.ts";
import { type DenseColumn, isDense, type LogSchema, type SparseColumn } from "../../src/dataset/schema.ts";
import {
  BadValue,
  DenseEncoder,
  type RowValue,
  type SingleValue,
  SparseEncoder,
} from "../../src/dataset/single_value.ts";
import { keys, type ValueRule } from "../../src/dataset/value_rules.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const RUNS = { numRuns: 40, seed: 5 };

/** How values come: their type in a Parquet file, undefined for text of CSV. */
const TYPES = {
  text: { type: undefined, sql: "VARCHAR" },
  number: { type: "DOUBLE", sql: "DOUBLE" },
  boolean: { type: "BOOLEAN", sql: "BOOLEAN" },
  texts: { type: "VARCHAR[]", sql: "VARCHAR[]" },
  numbers: { type: "DOUBLE[]", sql: "DOUBLE[]" },
} as const;
type TypeName = keyof typeof TYPES;

function sqlOf(value: RowValue): string {
  if (value === null || value === undefined || value === "") return "NULL";
  if (typeof value === "string") return quoted(value);
  if (typeof value === "boolean") return String(value);
  if (typeof value === "object") {
    return `[${value.map((item) => item === "" ? "''" : sqlOf(item)).join(", ")}]`;
  }
  return Number.isNaN(value) ? "'nan'::DOUBLE" : Object.is(value, -0) ? "'-0'::DOUBLE" : `'${value}'::DOUBLE`;
}

/** What the readers of logs make of values: undefined where they refuse one. */
async function bySql(
  engine: Engine,
  column: DenseColumn | SparseColumn,
  values: readonly RowValue[],
  type: TypeName,
  { rule = "text", maxIndRange, delimiter = "," }: {
    rule?: ValueRule;
    maxIndRange?: number | undefined;
    delimiter?: string;
  } = {},
): Promise<unknown[]> {
  const [field] = fieldBuilder(maxIndRange, [rule], delimiter === ";")(column, {
    raw: "c0",
    type: TYPES[type].type,
  }).slice(-1);
  // Of a column of kind time the first field is the moment itself, and has what is good.
  const fields = fieldBuilder(maxIndRange, [rule], delimiter === ";")(column, { raw: "c0", type: TYPES[type].type });
  const rows = values.map((value, i) => `(${i}, ${sqlOf(value)}::${TYPES[type].sql})`);
  const source = parsedRows(`(VALUES ${rows.join(", ")}) AS log(i, c0)`, fields);
  const good = fields.map((f) => `(${f.good})`).join(" AND ");
  const staged = `SELECT i, (${good}) AS good, ${field.value} AS ${field.staged} FROM ${source}`;
  const schema = { columns: [column] } as unknown as LogSchema;
  const replaced = isDense(column)
    ? [`coalesce(d0, (${fillOf(column)})::FLOAT) AS d0`]
    : keys(schema, [rule], maxIndRange).map((key) => `${key} AS t0`);
  const found = await engine.rows(`SELECT * REPLACE (${replaced.join(", ")}) FROM (${staged}) ORDER BY i`);
  return found.map(([, good, value]) => good === true ? plain(value) : undefined);
}

function plain(value: unknown): unknown {
  if (typeof value === "object" && value !== null && "items" in value) return (value.items as unknown[]).map(plain);
  return value;
}

/** What is made of the same values one by one. */
function single(encode: (value: RowValue) => unknown, values: readonly RowValue[]): unknown[] {
  return values.map((value) => {
    try {
      return encode(value);
    } catch (error) {
      if (error instanceof BadValue) return undefined;
      throw error;
    }
  });
}

function sparse(column: SparseColumn, rule: ValueRule, maxIndRange?: number) {
  const encoder = new SparseEncoder(column, rule, maxIndRange);
  return (value: RowValue) => {
    const found: (string | number)[] = [];
    encoder.encode(value, (key) => found.push(key));
    return column.kind === "bag" ? found : found[0];
  };
}

const blanks = fc.constantFrom("", "", "", " ", "\t", "\n", "  ", "\v", "\u00a0", "\u3000", "\r");
const digits = fc.stringMatching(/^[0-9]{1,6}$/);
/** Numbers as people and programs write them, and what is nearly one. */
const numberText = fc.tuple(
  blanks,
  fc.constantFrom("", "", "-", "+", "+-", "--", "-+"),
  fc.constantFrom("", "0", "00", "7", "12", "1,000", "1.000", "1_000", "1 000", "20240531", "1e3", "123456789012", "3"),
  fc.constantFrom("", "", ".", ".0", ".50", ".00", ",5", ",50", ".125", ".000001", "0000000000000000000"),
  fc.constantFrom("", "", "", "e5", "E-7", "e+400", "e", "f", "e-3"),
  blanks,
).map((parts) => parts.join(""));
const WORDS = [
  ...["", "NaN", "nan", "-nan", " NA ", "N/A", "null", "None", "NaT", "<NA>", "\\N", "#N/A", "na n", "true", "False"],
  ...["TRUE", "true ", "inf", "-inf", "Infinity", "infinity", "0", "-0", "-0.0", "007", "+5", "5.0", "5.00", "5.10"],
  ...["1e-05", "0.00001", "0.0000123", ".5", "-.5", "1e3", "1E3", "12e-1", "9007199254740993", "9007199254740992.0"],
  ...[
    "[1, 2]",
    "[1,2]",
    "[a]",
    "[]",
    "[ ]",
    "['a', \"b\"]",
    "['a,b']",
    "(1, 2)",
    "{a,b}",
    "[,]",
    "[1 2]",
    "(none)",
    "[",
  ],
  ...[
    "a|b",
    "a| b |",
    "|",
    "||",
    " ",
    "a b  c",
    "ab",
    "AB",
    "0xff",
    "ff",
    "FFFFFFFF",
    "100000000",
    "00000000ff",
    "a_b",
  ],
  ...["12g", "K", "\u212a", "\u0130", "\ud83d\ude00", "é", "e\u0301", "\u00a0x\u00a0", "a:b", ":", "/", "0:", "9z"],
];
const text = fc.oneof(
  { weight: 3, arbitrary: numberText },
  { weight: 3, arbitrary: fc.constantFrom(...WORDS) },
  { weight: 1, arbitrary: fc.array(fc.constantFrom(...WORDS), { maxLength: 4 }).map((words) => words.join("|")) },
  { weight: 1, arbitrary: digits },
  { weight: 1, arbitrary: fc.string({ unit: "grapheme-composite", maxLength: 6 }).filter((t) => !t.includes("\0")) },
);
const number = fc.oneof(
  fc.double(),
  fc.integer().map(Number),
  fc.double({ min: -1, max: 1 }).map((x) => x / 1e3),
  fc.constantFrom(
    0,
    -0,
    NaN,
    Infinity,
    -Infinity,
    0.1,
    1e-5,
    0.0001,
    2 ** 53,
    2 ** 53 - 1,
    1e22,
    14102100,
    3.4e38,
    3.5e38,
  ),
);
const OF_TYPE: Record<TypeName, fc.Arbitrary<RowValue>> = {
  text: fc.oneof({ weight: 9, arbitrary: text }, { weight: 1, arbitrary: fc.constantFrom(null, undefined) }),
  number: fc.oneof({ weight: 9, arbitrary: number }, { weight: 1, arbitrary: fc.constant(null) }),
  boolean: fc.constantFrom(true, false, null),
  texts: fc.oneof(fc.array(fc.oneof(text, fc.constant(null)), { maxLength: 4 }), fc.constant(null)),
  numbers: fc.array(fc.oneof(number, fc.constant<SingleValue>(null)), { maxLength: 4 }),
};
const many = (type: TypeName) => fc.array(OF_TYPE[type], { minLength: 40, maxLength: 80 });

const dense: fc.Arbitrary<DenseColumn> = fc.record({
  name: fc.constant("x"),
  kind: fc.constant("dense" as const),
  transform: fc.constantFrom("log", "none", "hour"),
  missing: fc.constantFrom(undefined, 0, 3.5, -2, "error" as const),
  ...{ decimal: fc.constantFrom(undefined, "." as const, "," as const) },
  ...{
    thousands: fc.constantFrom(
      undefined,
      undefined,
      "," as const,
      "." as const,
      " " as const,
      "_" as const,
      "'" as const,
    ),
  },
}).filter(({ decimal = ".", thousands }) => decimal !== thousands);
const moment: fc.Arbitrary<DenseColumn> = fc.record({
  name: fc.constant("x"),
  kind: fc.constantFrom("dense" as const, "time" as const),
  transform: fc.constant("clock" as const),
  unit: fc.constantFrom(undefined, undefined, "s" as const, "ms" as const, "us" as const, "ns" as const),
});
const two = (most: number) => fc.integer({ min: 0, max: most }).map((n) => String(n).padStart(2, "0"));
const iso = fc.tuple(
  fc.integer({ min: 1, max: 9999 }).map((year) => String(year).padStart(4, "0")),
  ...[two(13), two(32), fc.constantFrom(" ", "T", ""), two(24), two(60), two(60)],
  fc.constantFrom("", ".", ".5", ".123456", ".000001", ".999999"),
  fc.constantFrom("", "", "Z", "+02", "-03:30", "+0200", "+14:00", "-00:30"),
).map(([year, month, day, between, hour, minute, second, fraction, zone]) =>
  `${year}-${month}-${day}${between === "" ? "" : `${between}${hour}:${minute}:${second}${fraction}${zone}`}`
);

async function withEngine(use: (engine: Engine) => Promise<void>): Promise<void> {
  using directory = new TemporaryDirectory();
  using engine = await Engine.create(directory.path, { memoryBytes: 2 ** 28, threads: 1 });
  await use(engine);
}

Deno.test("numbers of dense columns, in every notation, are those that DuckDB reads", () =>
  withEngine((engine) =>
    fc.assert(
      fc.asyncProperty(
        fc.oneof(dense, moment),
        fc.constantFrom<TypeName>("text", "text", "number", "boolean").chain((type) =>
          fc.tuple(fc.constant(type), many(type))
        ),
        fc.constantFrom(",", ";"),
        async (column, [type, values], delimiter) => {
          const encoder = new DenseEncoder(column, { delimiter }, undefined);
          const found = single((value) => encoder.encode(value), values);
          const expected = await bySql(engine, column, values, type, { delimiter });
          for (const [i, value] of values.entries()) {
            assert.ok(
              sameNumber(found[i], expected[i]),
              `${JSON.stringify(value)}: ${found[i]}, DuckDB ${expected[i]}`,
            );
          }
        },
      ),
      RUNS,
    )
  ));

/** Zeros may have either sign. */
function sameNumber(a: unknown, b: unknown): boolean {
  return a === b;
}

Deno.test("moments in ISO 8601 are those that DuckDB reads; none is read otherwise", () =>
  withEngine((engine) =>
    fc.assert(
      fc.asyncProperty(fc.array(iso, { minLength: 100, maxLength: 100 }), async (values) => {
        const column = { name: "x", kind: "dense", transform: "clock" } as const;
        const encoder = new DenseEncoder(column, { delimiter: "," }, undefined);
        const found = single((value) => encoder.encode(value), values);
        const expected = await bySql(engine, column, values, "text");
        for (const [i, value] of values.entries()) {
          // What is refused here may be read there: 24:00 and other forms.
          if (found[i] !== undefined || / 24:|T24:|\.$|\.[-+Z]/.test(value)) {
            assert.ok(found[i] === undefined || found[i] === expected[i], value);
          } else assert.equal(expected[i], undefined, value);
        }
      }),
      RUNS,
    )
  ));

const column: fc.Arbitrary<SparseColumn> = fc.oneof(
  fc.record({
    name: fc.constant("x"),
    kind: fc.constant("sparse" as const),
    values: fc.constantFrom("text", "exact", "hex"),
  }),
  fc.record({
    name: fc.constant("x"),
    kind: fc.constant("bag" as const),
    values: fc.constantFrom("text", "text", "exact", "hex"),
    separator: fc.constantFrom("|", ",", " ", "||"),
    brackets: fc.constantFrom(undefined, undefined, true),
  }),
);

Deno.test("values of tables have the keys that DuckDB gives them", () =>
  withEngine((engine) =>
    fc.assert(
      fc.asyncProperty(
        column,
        fc.constantFrom<ValueRule>("text", "number", "number", "untyped"),
        fc.constantFrom(undefined, undefined, 7, 2 ** 32 - 1),
        fc.nat(),
        async (column, rule, maxIndRange, seed) => {
          const types: TypeName[] = column.kind === "bag"
            ? ["text", "texts", "numbers", "number"]
            : ["text", "number", "boolean"];
          const type = rule === "untyped" ? "text" : types[seed % types.length];
          const [values] = fc.sample(many(type), { seed, numRuns: 1 });
          const found = single(sparse(column, column.values === "hex" ? "text" : rule, maxIndRange), values);
          const expected = await bySql(engine, column, values, type, {
            rule: column.values === "hex" ? "text" : rule,
            maxIndRange,
          });
          for (const [i, value] of values.entries()) {
            assert.deepEqual(found[i], expected[i], `${JSON.stringify(value)} ${JSON.stringify(column)}`);
          }
        },
      ),
      { ...RUNS, numRuns: 80 },
    )
  ));
