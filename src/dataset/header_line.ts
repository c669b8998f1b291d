/** Names of the columns of a text file, from its header line. */
import type { LogSchema } from "./schema.ts";

type Text = Pick<LogSchema, "delimiter" | "quote" | "escape">;

export function splitLine(line: string, { delimiter, quote, escape = quote }: Text): string[] {
  const fields: string[] = [];
  for (let at = 0; at <= line.length; at += delimiter.length) {
    let field = "";
    if (quote !== "" && line.startsWith(quote, at)) {
      for (at++; at < line.length && !(line[at] === quote && !(escape === quote && line[at + 1] === quote)); at++) {
        if (line[at] === escape && (line[at + 1] === quote || line[at + 1] === escape)) at++;
        field += line[at];
      }
      at++;
    }
    const end = line.indexOf(delimiter, at);
    field += line.slice(at, end < 0 ? line.length : end);
    fields.push(field);
    at = end < 0 ? line.length : end;
  }
  return fields;
}

/**
 * The names of columns in a header: an unnamed column is called by its position, column0; equal names get a number,
 * item.1 and item.2.
 */
export function columnNames(line: string, text: Text): string[] {
  const names = splitLine(line, text).map((name, i) => name === "" ? `column${i}` : name);
  const seen = new Map<string, number>();
  return names.map((name) => {
    if (names.indexOf(name) === names.lastIndexOf(name)) return name;
    const number = (seen.get(name) ?? 0) + 1;
    seen.set(name, number);
    return `${name}.${number}`;
  });
}

/** Reason why a name matches no column. */
export function nameFault(name: string, names: readonly string[]): string {
  const same = names.filter((n) => n.startsWith(`${name}.`) && /^[0-9]+$/.test(n.slice(name.length + 1)));
  if (same.length > 1) return `${same.length} columns named ${name}; name them ${same.join(", ")} in the schema`;
  return `no column named ${name}; there are ${names.map((n) => JSON.stringify(n)).join(", ")}`;
}
