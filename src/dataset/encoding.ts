/** What the numbers of a dataset stand for: a model fits another dataset only if they stand for the same. */
import { z } from "zod";
import { fingerprint } from "../storage/artifact.ts";
import { HotsetError } from "../errors.ts";
import type { Dataset } from "./dataset.ts";
import { type Format, FORMATS } from "./formats.ts";
import { type Column, isDense, isMean, isSparse, type LogSchema, logSchema } from "./schema.ts";
import type { ValueRule } from "./value_rules.ts";

/** How raw values became a dataset's numbers, to be done again with other rows. */
export interface RawEncoding {
  readonly format: Format;
  readonly schema: LogSchema;
  readonly maxIndRange: number | undefined;
  /** How values are compared, by table. */
  readonly rules: readonly ValueRule[];
  /** What missing values count as, by dense feature, where the train split said it. */
  readonly fills: readonly (number | undefined)[];
}

/** How a dataset's raw values were encoded. Throws HotsetError if it was not made from any. */
export function rawEncodingOf(dataset: Dataset): RawEncoding {
  const { body: { source, tables, missing }, directory, dictionaryPath, keysPath } = dataset;
  const parsed = encodingSource.extend({ format: z.enum(FORMATS) }).safeParse(source);
  if (!parsed.success || (dictionaryPath === undefined && keysPath === undefined)) {
    throw new HotsetError(`Cannot encode with dataset ${directory}: it was not made from raw values`);
  }
  const { format, schema, maxIndRange } = parsed.data;
  const fills = schema.columns.filter(isDense).map((column) =>
    isMean(column) ? missing?.find(({ feature }) => feature === column.name)?.value : undefined
  );
  return { format, schema, maxIndRange, rules: tables.map(({ values }) => values ?? "untyped"), fills };
}

/** What a dataset remembers of how raw fields became numbers. */
const encodingSource = z.object({ schema: logSchema, maxIndRange: z.number().optional() });

/** What a dataset's features are made of. */
interface Encoding {
  /** Dense features, in order, with what they are made of. */
  readonly dense: readonly unknown[];
  /** Tables, in order, with what they are made of. */
  readonly tables: readonly unknown[];
  /** Names the values that rows stand for. */
  readonly values: string;
}

function encodingOf({ body, valuesId }: Dataset): Encoding {
  const parsed = encodingSource.safeParse(body.source);
  if (!parsed.success) return { dense: body.dense, tables: body.tables, values: valuesId };
  const { schema: { columns }, maxIndRange } = parsed.data;
  const sizes = body.tables.map(({ rows }) => rows);
  return {
    dense: columns.filter(isDense).map(meaningOf),
    tables: columns.filter(isSparse).map((column, t) => ({ ...meaningOf(column), rows: sizes[t], maxIndRange })),
    values: valuesId,
  };
}

/** A column without what only finds its values in a file. */
function meaningOf(column: Column): object {
  return { ...column, note: undefined, separator: undefined };
}

/** Names what the numbers of a dataset stand for: equal where a model fits both datasets. */
export function encodingId(dataset: Dataset): string {
  return fingerprint(encodingOf(dataset));
}

/** Why a model of the one dataset does not fit the other, as a clause about the other; undefined if it does. */
export function encodingDifference(trained: Dataset, other: Dataset): string | undefined {
  const [expected, found] = [encodingOf(trained), encodingOf(other)];
  const same = (key: keyof Encoding) => fingerprint(expected[key]) === fingerprint(found[key]);
  if (!same("values")) return "has another dictionary, so its ids stand for other values";
  if (!same("tables")) return "has other tables, or compares their values differently";
  return same("dense") ? undefined : "has other dense features, or transforms them differently";
}
