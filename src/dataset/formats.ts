/** Formats with a name. */
import { UsageError } from "../errors.ts";
import { AVAZU_TABLES } from "./avazu_shape.ts";
import { checkSchema, type Column, groupFault, type LogSchema, readSchema, weightFault } from "./schema.ts";

/** Names of the formats. */
export const FORMATS = ["criteo", "avazu", "taobao", "taobao-sessions", "movielens", "dlrm", "csv", "parquet"] as const;
/** Name of a format. */
export type Format = typeof FORMATS[number];

/** The dialects of these formats: separated by tabs without a header, and CSV with one. */
const TABS = { delimiter: "\t", quote: "", header: false };
export const COMMAS = { delimiter: ",", quote: '"', header: true };

/** Criteo Display Advertising (Kaggle) and Criteo 1TB: label, 13 numbers, 26 hexadecimal values, tab separated. */
export const CRITEO: LogSchema = {
  ...TABS,
  columns: [
    { name: "label", kind: "label" },
    ...Array.from({ length: 13 }, (_, i): Column => ({ name: `I${i + 1}`, kind: "dense", transform: "log" })),
    ...Array.from({ length: 26 }, (_, i): Column => ({ name: `C${i + 1}`, kind: "sparse", values: "hex" })),
  ],
};

const text = (name: string): Column => ({ name, kind: "sparse", values: "text" });

/** Avazu CTR: CSV with a header. As in FAE, 21 tables and one dense feature, the hour of the day. */
const AVAZU: LogSchema = {
  ...COMMAS,
  columns: [
    { name: "click", kind: "label" },
    { name: "hour", kind: "dense", transform: "hour" },
    ...AVAZU_TABLES.map(({ name }) => text(name)),
  ],
};

/**
 * Taobao UserBehavior: user, item, category, behaviour, unix time; sorted by user in the file, so it is sorted by time.
 */
const TAOBAO: LogSchema = {
  delimiter: ",",
  quote: "",
  header: false,
  columns: [
    text("user"),
    text("item"),
    text("category"),
    { name: "behaviour", kind: "label", positive: ["buy"] },
    { name: "time", kind: "time", transform: "clock" },
  ],
};

/** MovieLens 100K u.data: user, item, rating, unix time; unsorted in the file, so it is sorted by time. */
const MOVIELENS: LogSchema = {
  ...TABS,
  columns: [
    text("user"),
    text("item"),
    { name: "rating", kind: "label", atLeast: 4 },
    { name: "time", kind: "time", transform: "clock" },
  ],
};

/** Sessions as rows: the lists have the candidate last. */
export const SESSIONS: LogSchema = {
  ...COMMAS,
  columns: [
    { name: "label", kind: "label" },
    text("user"),
    { name: "item", kind: "bag", values: "text", separator: "|" },
    { name: "category", kind: "bag", values: "text", separator: "|" },
  ],
};

/**
 * The schema of a format; csv and parquet are described by a file or a schema. `group` and `weight` name other columns of
 * groups and weights than the schema does. Throws HotsetError if the file is wrong or there is no such column.
 */
export function schemaOf(
  format: Format,
  schema: string | LogSchema | undefined,
  group?: string,
  weight?: string,
): LogSchema {
  return withWeight(format, withGroup(format, describedBy(format, schema), group), weight);
}

/** A schema of a format with another column of groups, if one is named. Throws UsageError if there is no such column. */
export function withGroup(format: Format, described: LogSchema, group: string | undefined): LogSchema {
  if (group === undefined) return described;
  const fault = format === "criteo" || format === "dlrm"
    ? `format ${format} has no column of users; describe the log with --format csv and a schema`
    : groupFault(described.columns, group);
  if (fault !== undefined) throw new UsageError(`Cannot group by ${group || '""'}: ${fault}`);
  return { ...described, group };
}

/**
 * A schema in which a column has kind weight instead of that of a feature, if one is named. Throws UsageError if there is
 * no such column.
 */
export function withWeight(format: Format, described: LogSchema, weight: string | undefined): LogSchema {
  if (weight === undefined) return described;
  const { columns } = described;
  const fault = format === "criteo" || format === "dlrm"
    ? `format ${format} has no column of weights; describe the log with --format csv and a schema`
    : weightFault(described, weight);
  if (fault !== undefined) throw new UsageError(`Cannot weight samples by ${weight || '""'}: ${fault}`);
  return { ...described, columns: columns.map((c) => c.name === weight ? { name: weight, kind: "weight" } : c) };
}

function describedBy(format: Format, schema: string | LogSchema | undefined): LogSchema {
  if (format === "csv" || format === "parquet") {
    if (schema !== undefined) return typeof schema === "string" ? readSchema(schema) : checkSchema(schema);
    throw new UsageError(
      `Cannot read format ${format} without a schema: name its file with --schema; prepare --infer FILE proposes one`,
    );
  }
  if (schema !== undefined) throw new UsageError(`Cannot use a schema with format ${format}: its columns are fixed`);
  return {
    ...{ criteo: CRITEO, dlrm: CRITEO, avazu: AVAZU, movielens: MOVIELENS },
    ...{ taobao: TAOBAO, "taobao-sessions": TAOBAO },
  }[format];
}
