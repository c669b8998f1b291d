/** The meaning of a click log's columns. Known formats have a schema (formats.ts); users write their own in a file. */
import { z } from "zod";
import { firstIssue } from "../storage/artifact.ts";
import { HotsetError, messageOf } from "../errors.ts";
import { didYouMean } from "../similar.ts";

const name = z.string().min(1);
const values = z.enum(["text", "exact", "hex"]).default("text");

const transform = z.enum(["log", "none", "hour", "clock"]);
/** Notation of a moment: the unit of a number since 1970, or the format of a date (strptime). */
const written = {
  unit: z.enum(["s", "ms", "us", "ns"]).optional(),
  format: z.string().includes("%").optional(),
};
/** A note for the reader; `prepare --infer` explains its proposal here. */
const note = z.string().optional();

function ofKind<Kind extends string, Shape extends z.ZodRawShape>(kind: Kind, shape: Shape) {
  return z.strictObject({ name, note, kind: z.literal(kind), ...shape });
}

/** The type `Column` describes each kind. */
const column = z.discriminatedUnion("kind", [
  ofKind("label", { positive: z.array(z.string()).min(1).optional(), atLeast: z.number().optional() }),
  ofKind("weight", {}),
  ofKind("dense", {
    transform: transform.default("log"),
    missing: z.union([z.number(), z.literal("mean"), z.literal("error")]).optional(),
    decimal: z.enum([".", ","]).optional(),
    thousands: z.enum([",", ".", " ", "_", "'"]).optional(),
    ...written,
  }),
  ofKind("time", { transform: z.enum(["clock", "hour", "order"]).default("clock"), ...written }),
  ofKind("sparse", { values }),
  ofKind("bag", { values, separator: z.string().min(1).default("|"), brackets: z.boolean().optional() }),
  ofKind("weights", { of: name }),
  ofKind("ignore", {}),
]);

/** Properties of every column. */
export interface Named<Kind extends string> {
  /** Name in the header, or any unique name. */
  name: string;
  /** A note for the reader. */
  note?: string | undefined;
  /** Use of the column. */
  kind: Kind;
}
/** Notation of a moment other than unix seconds and 2024-05-31 23:59:00. */
export interface Moment {
  /** Unit of a number since 1970. */
  unit?: "s" | "ms" | "us" | "ns" | undefined;
  /** Format for strptime: %d.%m.%Y. */
  format?: string | undefined;
}
/**
 * One column of a log, by its kind:
 * - `label`: 0 or 1; or the values that count as 1: those of `positive`, or numbers from `atLeast` on.
 * - `dense`: a number, or with transform `clock` a moment: unix seconds, or a date and time in ISO 8601, UTC unless stated
 *   otherwise. Transforms: `log` is log(max(x, 0) + 1), `none` leaves the number unchanged, `hour` is the hour of YYMMDDHH
 *   over 24, `clock` the UTC time of day, 0 to 1. `missing` replaces missing values before the transform (default 0;
 *   `mean` is that of the train split). `thousands` separates groups of three digits.
 * - `time`: a time by which all rows are sorted; also a dense feature unless the transform is `order`.
 * - `sparse`: one categorical value; an empty field is a value like any other. Values are `text` (compared as numbers if the
 *   column contains only numbers), `exact` text, or up to 8 `hex` digits (an empty field is 0).
 * - `bag`: any number of such values in one field, or a list of Parquet; an empty field is an empty bag. With `brackets`
 *   the list is written as [1, 2], and its values may be quoted.
 * - `weights`: of the bag that `of` names, a finite number for each of its values, by which its row is multiplied; written
 *   as the bag is.
 * - `weight`: a number above 0: how much the sample counts in the loss and in metrics.
 * - `ignore`: not read.
 */
export type Column =
  | Named<"label"> & { positive?: string[] | undefined; atLeast?: number | undefined }
  | Named<"dense"> & Moment & {
    transform: "log" | "none" | "hour" | "clock";
    missing?: number | "mean" | "error" | undefined;
    decimal?: "." | "," | undefined;
    thousands?: "," | "." | " " | "_" | "'" | undefined;
  }
  | Named<"time"> & Moment & { transform: "clock" | "hour" | "order" }
  | Named<"sparse"> & { values: "text" | "exact" | "hex" }
  | Named<"bag"> & { values: "text" | "exact" | "hex"; separator: string; brackets?: boolean | undefined }
  | Named<"weights"> & { of: string }
  | Named<"weight">
  | Named<"ignore">;
/** A column that becomes an embedding table. */
export type SparseColumn = Extract<Column, { kind: "sparse" | "bag" }>;
/** A column that has the weights of a bag's values. */
export type WeightsColumn = Extract<Column, { kind: "weights" }>;
/** A column that becomes a dense feature. */
export type DenseColumn = Extract<Column, { kind: "dense" | "time" }>;

const isBetween = (value: number, least: number, most: number) => value >= least && value <= most;

/** The type `LogSchema` describes each property. */
const schemaFile = z.strictObject({
  delimiter: z.string().refine((text) => isBetween(new TextEncoder().encode(text).length, 1, 4), {
    message: "it must have one to four bytes",
  }).default(","),
  quote: z.string().max(1).default('"'),
  escape: z.string().length(1).optional(),
  skip: z.number().int().positive().optional(),
  header: z.boolean().default(true),
  columns: z.array(column),
  group: name.optional(),
}).superRefine(({ columns, group }, context) => {
  const complain = (message: string) => context.addIssue({ code: "custom", path: ["columns"], message });
  const names = columns.map((c) => c.name);
  const twice = names.find((n, i) => names.indexOf(n) !== i);
  if (twice !== undefined) complain(`${twice} appears twice`);
  const labels = columns.filter((c) => c.kind === "label").length;
  if (labels > 1) complain(`there can be one column of kind label, not ${labels}`);
  for (const kind of ["time", "weight"]) {
    if (columns.filter((c) => c.kind === kind).length > 1) complain(`there can be one column of kind ${kind}`);
  }
  const rules = columns.find((c) => c.kind === "label" && c.positive !== undefined && c.atLeast !== undefined);
  if (rules !== undefined) complain(`${rules.name} must have either positive or atLeast`);
  const fault = group === undefined ? undefined : groupFault(columns, group);
  if (fault !== undefined) context.addIssue({ code: "custom", path: ["group"], message: fault });
  for (const column of columns) {
    const fault = numberFault(column) ?? weightsFault(columns, column);
    if (fault !== undefined) complain(`${column.name}: ${fault}`);
  }
  if (!columns.some((column) => isSparse(column) || isDense(column))) {
    complain("there must be a feature: a column of kind dense, time, sparse or bag");
  }
});

/** What keeps a column from naming the groups of samples, or undefined. */
export function groupFault(columns: readonly Column[], group: string): string | undefined {
  const column = columns.find(({ name }) => name === group);
  if (column === undefined) return missingColumn(columns, group);
  if (column.kind === "sparse" || column.kind === "ignore") return undefined;
  return `column ${group} has kind ${column.kind}; groups need a column of kind sparse or ignore`;
}

/** What keeps a column from being the weight of samples, or undefined. */
export function weightFault({ columns, group }: LogSchema, weight: string): string | undefined {
  const column = columns.find(({ name }) => name === weight);
  if (column === undefined) return missingColumn(columns, weight);
  const other = columns.find(({ name, kind }) => kind === "weight" && name !== weight);
  if (other !== undefined) return `column ${other.name} has kind weight in the schema`;
  if (weight === group) return `column ${weight} is that of the groups`;
  if (column.kind === "sparse" || column.kind === "dense" || column.kind === "ignore" || column.kind === "weight") {
    return undefined;
  }
  return `column ${weight} has kind ${column.kind}; a weight is a number`;
}

/** Says that a schema has no such column, and what to do. */
export function missingColumn(columns: readonly Column[], name: string): string {
  if (name === "") return "the name of the column is empty";
  const similar = didYouMean(name, columns.map((column) => column.name));
  return `the schema has no column ${name}${similar || "; add it, with kind ignore if it is not a feature"}`;
}

/** What is wrong with the declared notation of a column's numbers. */
function numberFault(column: Column): string | undefined {
  if (column.kind !== "dense" && column.kind !== "time") return undefined;
  const { unit, format } = column;
  if (unit !== undefined && format !== undefined) return "it must have either unit or format";
  if ((unit ?? format) !== undefined && !isMoment(column)) return "unit and format need transform clock";
  if (column.kind === "time") return undefined;
  const { decimal = ".", thousands } = column;
  if (isMoment(column) && (decimal !== "." || thousands !== undefined)) {
    return "decimal and thousands are not for transform clock";
  }
  return decimal === thousands ? "decimal and thousands must differ" : undefined;
}

/** What keeps a column from weighting the values of the bag that it names, or undefined. */
function weightsFault(columns: readonly Column[], column: Column): string | undefined {
  if (column.kind !== "weights") return undefined;
  const bag = columns.find(({ name }) => name === column.of);
  if (bag === undefined) return `of: ${missingColumn(columns, column.of)}`;
  if (bag.kind !== "bag") return `${bag.name} has kind ${bag.kind}, and weights need a bag`;
  return weightsOf(columns, bag) === column ? undefined : `another column has the weights of ${bag.name}`;
}

/** How to read a log: its dialect and its columns, in the order of the features. */
export interface LogSchema {
  /** One to four bytes between fields. */
  delimiter: string;
  /** Quotes around fields that contain delimiters; empty for none. */
  quote: string;
  /** Escape character of quotes in quoted fields; default the quote itself. */
  escape?: string | undefined;
  /** Number of lines to skip before the header or the first row. */
  skip?: number | undefined;
  /** True if the first line has the names of the columns: columns are then found by name and others are ignored. */
  header: boolean;
  /** One label, or none if all rows are positives; any number of other columns. */
  columns: Column[];
  /** The column by which samples are grouped for metrics, of kind sparse or ignore: each user has an AUC. */
  group?: string | undefined;
}
export const logSchema: z.ZodType<LogSchema> = schemaFile;

/** True for columns that become embedding tables. */
export function isSparse(column: Column): column is SparseColumn {
  return column.kind === "sparse" || column.kind === "bag";
}

/** The column with the weights of a table's lookups; undefined where all are 1. */
export function weightsOf(columns: readonly Column[], { name }: SparseColumn): WeightsColumn | undefined {
  return columns.find((column) => column.kind === "weights" && column.of === name) as WeightsColumn | undefined;
}

/** True for columns that become dense features. */
export function isDense(column: Column): column is DenseColumn {
  return column.kind === "dense" || (column.kind === "time" && column.transform !== "order");
}

/** True for dense features whose missing values are replaced by the mean of the train split. */
export function isMean(column: DenseColumn): boolean {
  return column.kind === "dense" && column.missing === "mean";
}

/** True for columns of moments: unix seconds, or dates and times. */
export function isMoment(column: Column): boolean {
  return (column.kind === "time" && column.transform !== "hour") ||
    (column.kind === "dense" && column.transform === "clock");
}

/** True if the values of a table are numbers of 32 bits: hexadecimal, or reduced to an index range. */
export function isNumeric(column: SparseColumn, maxIndRange: number | undefined): boolean {
  return column.values === "hex" || maxIndRange !== undefined;
}

/** Reads a schema file (JSON). Throws HotsetError with the first problem. */
export function readSchema(path: string): LogSchema {
  try {
    return parseSchema(path, Deno.readTextFileSync(path));
  } catch (error) {
    if (error instanceof HotsetError) throw error;
    const reason = error instanceof Deno.errors.NotFound ? "no such file" : messageOf(error);
    throw new HotsetError(`Cannot read schema ${path}: ${reason}`, { cause: error });
  }
}

/** Parses the text of a schema file; otherwise like `readSchema`. */
export function parseSchema(path: string, text: string): LogSchema {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new HotsetError(`Cannot read schema ${path}: it is not JSON: ${messageOf(error)}`, { cause: error });
  }
  return checked(json, `read schema ${path}`);
}

/** A schema that a program gives, with its defaults. Throws HotsetError with the first problem. */
export function checkSchema(schema: unknown): LogSchema {
  return checked(schema, "use the schema");
}

function checked(json: unknown, doing: string): LogSchema {
  const schema = logSchema.safeParse(json);
  if (!schema.success) throw new HotsetError(`Cannot ${doing}: ${schemaFault(json, schema.error)}`);
  return schema.data;
}

/** The first issue, with the name of its column. */
function schemaFault(json: unknown, error: z.ZodError): string {
  const { path: [part, index, ...field], message } = error.issues[0];
  const columns = (json as { columns?: { name?: unknown }[] } | null)?.columns;
  const name = part === "columns" && typeof index === "number" ? columns?.[index]?.name : undefined;
  if (typeof name === "string") return `column ${name}${field.length > 0 ? ` has ${field.join(".")}` : ""}: ${message}`;
  return part === undefined ? message : firstIssue(error);
}
