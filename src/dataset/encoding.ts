/** The meaning of a dataset's numbers: a model fits another dataset only if their meanings are equal. */
import { z } from "zod";
import { fingerprint } from "../storage/artifact.ts";
import { HotsetError } from "../errors.ts";
import type { DatasetEncoding } from "./dataset_encoding.ts";
import { type Format, FORMATS, SESSIONS } from "./formats.ts";
import { type HistoryFiles, NUMBERS_FILE, UNSEEN_FILE } from "./row_history.ts";
import { type Column, isDense, isMean, isSparse, type LogSchema, logSchema, weightsOf } from "./schema.ts";
import type { ValueRule } from "./value_rules.ts";

/** How raw values became a dataset's numbers, so that other rows can be encoded in the same way. */
export interface RawEncoding {
  readonly format: Format;
  readonly schema: LogSchema;
  readonly maxIndRange: number | undefined;
  /** Rules by which values are compared, by table. */
  readonly rules: readonly ValueRule[];
  /** Replacement of missing values, by dense feature, if the train split determined it. */
  readonly fills: readonly (number | undefined)[];
}

/**
 * How a dataset's raw values were encoded; for sessions, how rows of them are. Throws HotsetError if the dataset was not
 * made from raw values (generated data other than sessions).
 */
export function rawEncodingOf(dataset: DatasetEncoding): RawEncoding {
  const { body: { source, tables, missing }, directory, dictionaryPath, keysPath } = dataset;
  if (dataset.steps > 1 && dictionaryPath !== undefined) {
    const rules = tables.map(({ values }) => values ?? "untyped");
    return { format: "csv", schema: SESSIONS, maxIndRange: undefined, rules, fills: [] };
  }
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

/** The part of a dataset's source that describes how raw fields became numbers. */
const encodingSource = z.object({ schema: logSchema, maxIndRange: z.number().optional() });

/** The sources of a dataset's features. */
interface Encoding {
  /** Dense features in order, with the columns that they come from. */
  readonly dense: readonly unknown[];
  /** Tables in order, with the columns that they come from. */
  readonly tables: readonly unknown[];
  /** Identifies the values of the rows. */
  readonly values: string;
}

function encodingOf({ body, valuesId }: DatasetEncoding): Encoding {
  const parsed = encodingSource.safeParse(body.source);
  if (!parsed.success) return { dense: body.dense, tables: body.tables, values: valuesId };
  const { schema: { columns }, maxIndRange } = parsed.data;
  const sizes = body.tables.map(({ rows }) => rows);
  return {
    dense: columns.filter(isDense).map(meaningOf),
    tables: meaningOfTables(columns).map((meaning, t) => ({ ...meaning, rows: sizes[t], maxIndRange })),
    values: valuesId,
  };
}

/** A column without the properties that only help to find its values in a file. */
function meaningOf(column: Column): object {
  return { ...column, note: undefined, separator: undefined };
}

/** The columns of tables, each with that of its weights. */
function meaningOfTables(columns: readonly Column[]): object[] {
  return columns.filter(isSparse).map((column) => ({
    ...meaningOf(column),
    weights: weightsOf(columns, column)?.name,
  }));
}

/** True if the features of both schemas have the same columns with the same meaning. */
export function sameFeatures(one: LogSchema, other: LogSchema): boolean {
  const features = ({ columns }: LogSchema) =>
    fingerprint([columns.filter(isDense).map(meaningOf), meaningOfTables(columns)]);
  return features(one) === features(other);
}

/** What a dataset records of the encoding whose ids it keeps. */
const knownEncoding = z.object({
  values: z.string(),
  rows: z.array(z.number().int().positive()),
  dropped: z.array(z.number().int().nonnegative()).optional(),
  numbers: z.string().optional(),
  expire: z.number().int().positive().optional(),
});

/** Location of the history of a table's rows. */
export function historyOf(encoding: DatasetEncoding, table: number): HistoryFiles {
  const { rows, dropped = 0 } = encoding.body.tables[table];
  const [unseen, numbers] = [UNSEEN_FILE, NUMBERS_FILE].map((name) => encoding.wordsOf(name, table));
  return { rows: rows - 1, next: rows + dropped, unseen, numbers };
}

/** What a dataset that grows from an encoding records of it. */
export function knownBy(known: DatasetEncoding): object {
  const { id, valuesId, numbersId, body: { tables } } = known;
  const rows = tables.map((table) => table.rows);
  if (numbersId === undefined) return { dataset: id, values: valuesId, rows };
  return { dataset: id, values: valuesId, rows, dropped: tables.map(({ dropped = 0 }) => dropped), numbers: numbersId };
}

export interface GrownSize {
  /** Rows of the older encoding, and how many of them were dropped. */
  readonly before: number;
  readonly dropped: number;
}

/** The growth of each table, and after how many growths rows were dropped; undefined for an encoding of its own. */
export function grownSizes({ body }: DatasetEncoding): { tables: GrownSize[]; expire: number | undefined } | undefined {
  const known = knownEncoding.safeParse(body.source.known).data;
  if (known === undefined) return undefined;
  const tables = known.rows.map((before, t) => {
    return { before, dropped: (body.tables[t].dropped ?? 0) - (known.dropped?.[t] ?? 0) };
  });
  return { tables, expire: known.expire };
}

/** True if the dataset has the ids of the encoding, but for dropped rows, and perhaps further ones. */
export function growsFrom(trained: DatasetEncoding, dataset: DatasetEncoding): boolean {
  const known = knownEncoding.safeParse(dataset.body.source.known).data;
  if (known === undefined || known.values !== trained.valuesId || known.numbers !== trained.numbersId) return false;
  const sizes = grownSizes(dataset)!.tables;
  const fits = trained.body.tables.length === sizes.length && sizes.every(({ before, dropped }, t) => {
    const [{ name, rows, values }, now] = [trained.body.tables[t], dataset.body.tables[t]];
    return name === now.name && values === now.values && rows === before && dropped >= 0 &&
      before - dropped <= now.rows;
  });
  if (!fits) return false;
  const [before, after] = [encodingOf(trained), encodingOf(dataset)];
  const meaning = (of: Encoding) =>
    fingerprint([of.dense, of.tables.map((table) => ({ ...table as object, rows: 0 }))]);
  return meaning(before) === meaning(after);
}

/** Identifies the meaning of a dataset's numbers: equal if a model fits both datasets. */
export function encodingId(dataset: DatasetEncoding): string {
  return fingerprint(encodingOf(dataset));
}

/** Why a model of one dataset does not fit the other, as a clause about the other; undefined if it does. */
export function encodingDifference(trained: DatasetEncoding, other: DatasetEncoding): string | undefined {
  const [expected, found] = [encodingOf(trained), encodingOf(other)];
  const same = (key: keyof Encoding) => fingerprint(expected[key]) === fingerprint(found[key]);
  if (!same("values")) return "has another dictionary, so its ids stand for other values";
  if (!same("tables")) return "has other tables, or compares their values differently";
  return same("dense") ? undefined : "has other dense features, or transforms them differently";
}
