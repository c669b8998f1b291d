/** Formats and parses numbers with units. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Bytes with a binary unit: 536870912 is "512 MiB". */
export function bytes(value: number): string {
  const power = value < 1 ? 0 : Math.min(Math.floor(Math.log2(value) / 10), UNITS.length - 1);
  const scaled = value / 1024 ** power;
  return `${power === 0 || scaled >= 100 ? Math.round(scaled) : scaled.toFixed(1)} ${UNITS[power]}`;
}

/** A count with separators, without decimals. */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** A share as a percentage with one decimal. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** Maximum number of tables that a note about unknown values names. */
const NAMED_TABLES = 6;

/** Shares of lookups that met unknown values, by table: the largest by name. */
export function unknownText(share: Readonly<Record<string, number>>): string {
  const found = Object.entries(share).filter(([, value]) => value > 0).sort(([, a], [, b]) => b - a);
  if (found.length === 0) return "no values outside the dictionary";
  const named = found.slice(0, NAMED_TABLES).map(([table, value]) => `${table} ${percent(value)}`).join(", ");
  const others = found.length - NAMED_TABLES;
  const rest = others > 0 ? `, ${others} more tables at most ${percent(found[NAMED_TABLES][1])}` : "";
  return `values outside the dictionary, by share of lookups: ${named}${rest}`;
}

/** A duration. */
export function seconds(value: number): string {
  return value < 10 ? `${value.toFixed(1)} s` : `${Math.round(value)} s`;
}

/** A duration that is estimated: `45 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(value: number): string {
  const whole = Math.round(value);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A time in ISO 8601 as `2026-11-26 20:53` in the local time zone. */
export function localTime(iso: string): string {
  const time = new Date(iso);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ` +
    `${two(time.getHours())}:${two(time.getMinutes())}`;
}

/** Reads a number of bytes such as "512MiB", "2 GB" or "1024". Returns undefined for anything else. */
export function parseBytes(text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(?:([kmgt]?)(i?)b)?\s*$/i.exec(text);
  if (match === null) return undefined;
  const [, number, prefix = "", binary] = match;
  const power = ["", "k", "m", "g", "t"].indexOf(prefix.toLowerCase());
  return Math.round(Number(number) * (binary ? 1024 : 1000) ** power);
}

/**
 * The text with line breaks at spaces, so that no line has more than `columns` characters. Longer words remain whole, and
 * `%` stays beside its number.
 */
export function wrapped(text: string, columns: number): string {
  const wrap = (line: string) =>
    line.split(/ (?!%)/).reduce((lines, word) => {
      const last = lines.at(-1);
      if (last === undefined || last.length + 1 + word.length > columns) lines.push(word);
      else lines[lines.length - 1] = `${last} ${word}`;
      return lines;
    }, [] as string[]).join("\n");
  return text.split("\n").map(wrap).join("\n");
}
