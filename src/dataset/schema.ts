/** What the columns of a click log mean. The Criteo format is one such schema; users describe their own in a file. */
import { z } from "zod";
import { firstIssue } from "../artifact.ts";
import { HotsetError, messageOf } from "../errors.ts";

const name = z.string().min(1);
/** How a categorical value is written: any text, or up to 8 hexadecimal digits (an empty field is 0). */
const values = z.enum(["text", "hex"]).default("text");

const column = z.discriminatedUnion("kind", [
  /** 0 or 1. */
  z.strictObject({ name, kind: z.literal("label") }),
  /** A number; empty is 0. `log` stores log(max(x, 0) + 1). */
  z.strictObject({ name, kind: z.literal("dense"), transform: z.enum(["log", "none"]).default("log") }),
  /** One categorical value. An empty field is a value like any other. */
  z.strictObject({ name, kind: z.literal("sparse"), values }),
  /** Any number of categorical values in one field; an empty field is an empty bag. */
  z.strictObject({ name, kind: z.literal("bag"), values, separator: z.string().min(1) }),
  /** Left out. */
  z.strictObject({ name, kind: z.literal("ignore") }),
]);

/** One column of a log. */
export type Column = z.infer<typeof column>;
/** A column that becomes an embedding table. */
export type SparseColumn = Extract<Column, { kind: "sparse" | "bag" }>;
/** A column that becomes a dense feature. */
export type DenseColumn = Extract<Column, { kind: "dense" }>;

const schemaFile = z.strictObject({
  /** One character between fields. */
  delimiter: z.string().length(1).default(","),
  /** The character around fields that hold delimiters; empty for none. */
  quote: z.string().max(1).default('"'),
  /** True if the first line names the columns: then columns are found by name and the others are left out. */
  header: z.boolean().default(true),
  columns: z.array(column),
}).superRefine(({ columns }, context) => {
  const complain = (message: string) => context.addIssue({ code: "custom", path: ["columns"], message });
  const names = columns.map((c) => c.name);
  const twice = names.find((n, i) => names.indexOf(n) !== i);
  if (twice !== undefined) complain(`${twice} is there twice`);
  const labels = columns.filter((c) => c.kind === "label").length;
  if (labels !== 1) complain(`there must be one column of kind label, not ${labels}`);
  if (!columns.some(isSparse)) complain("there must be a column of kind sparse or bag");
});

/** How to read a log: its text form and its columns, in the order of the features. */
export type LogSchema = z.infer<typeof schemaFile>;
/** Validates a schema that comes from a file. */
export const logSchema: z.ZodType<LogSchema> = schemaFile;

/** True for columns that become embedding tables. */
export function isSparse(column: Column): column is SparseColumn {
  return column.kind === "sparse" || column.kind === "bag";
}

/** True for columns that become dense features. */
export function isDense(column: Column): column is DenseColumn {
  return column.kind === "dense";
}

/** Criteo Display Advertising (Kaggle) and Criteo 1TB: label, 13 numbers, 26 hexadecimal values, tab separated. */
export const CRITEO: LogSchema = {
  delimiter: "\t",
  quote: "",
  header: false,
  columns: [
    { name: "label", kind: "label" },
    ...Array.from({ length: 13 }, (_, i): Column => ({ name: `I${i + 1}`, kind: "dense", transform: "log" })),
    ...Array.from({ length: 26 }, (_, i): Column => ({ name: `C${i + 1}`, kind: "sparse", values: "hex" })),
  ],
};

/** Reads a schema file (JSON). Throws HotsetError that names the first thing wrong with it. */
export function readSchema(path: string): LogSchema {
  const fail = (reason: string): never => {
    throw new HotsetError(`Cannot read schema ${path}: ${reason}`);
  };
  let text = "";
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    fail(error instanceof Deno.errors.NotFound ? "there is no such file" : messageOf(error));
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    fail(`it is not JSON: ${messageOf(error)}`);
  }
  const schema = logSchema.safeParse(json);
  return schema.success ? schema.data : fail(firstIssue(schema.error));
}
