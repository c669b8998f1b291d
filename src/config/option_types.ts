/** What an option is, and types of the values that options have. */
import { z } from "zod";
import { parseBytes } from "../format.ts";

/** A command line, for rules of options that only it has. */
export interface CommandLine {
  /** The command. */
  readonly command: string;
  /** Its arguments. */
  readonly inputs: readonly string[];
  /** Options that were given on it or in a configuration file, by their long names. */
  readonly given: ReadonlySet<string>;
  /** Values of the options, defaults included. */
  readonly values: Readonly<Record<string, unknown>>;
}

/**
 * Says why an option would do nothing, and the way out, as the rest of "Cannot use --x ..." (which may begin with its
 * value: "mpi with ..."); undefined where it acts. The configuration is complete; there is a command line or none.
 */
export type RuleOn<Config> = (config: Config, line: CommandLine | undefined) => string | undefined;

/** Another tool's name for an option; its values under their names there, where they have others. */
export interface Alias {
  /** The flag, with dashes. */
  readonly flag: string;
  /** Values here by values there. */
  readonly values?: Readonly<Record<string, string>>;
}

/** An option whose values are of type T. */
export interface OptionOf<T, Config> {
  /** As on the command line, with its value; undefined for what another option says. */
  readonly flag?: string;
  /** What values it has. */
  readonly type: z.ZodType<T>;
  /** Makes a value of text; by default a number, or the text itself where the type has choices. */
  readonly read?: (text: string) => unknown;
  /** What a value on the command line says of the configuration, where that is more than the option's own key. */
  sets?(value: T): Partial<Config>;
  /** Its value where nothing says one; undefined for what presets say. */
  readonly default?: T;
  /** What it is, for `--help`. */
  readonly help?: string;
  /** Words for its default in `--help`, by default the value itself. */
  readonly shown?: string;
  /** Heading in `--help`. */
  readonly group?: string;
  /** Commands that take it, by default train and import. */
  readonly commands?: readonly string[];
  /** When it does nothing. */
  readonly rules?: readonly RuleOn<Config>[];
  /** Other tools' names for it. */
  readonly aliases?: readonly Alias[];
  /** True if it may be given to a run that goes on. */
  readonly resumes?: true;
  /** True if it does not decide the sequence of steps: runs that differ in it leave the same checkpoints. */
  readonly free?: true;
  /** What runs did that were recorded before there was this option. */
  readonly before?: T;
}

// An error of these types says all of what a value must be, whichever bound it breaks.

/** A whole number. */
export function whole(from: number, to = Infinity): z.ZodNumber {
  const expected = `must be a whole number from ${from}${to === Infinity ? "" : ` to ${to}`}`;
  const lower = z.number(expected).int(expected).min(from, expected);
  return to === Infinity ? lower : lower.max(to, expected);
}

/** A number; `expected` says its bounds. */
export function number(expected: string, from: number, to = Infinity, withFrom = true): z.ZodNumber {
  const words = `must be a number ${expected}`;
  const lower = withFrom ? z.number(words).min(from, words) : z.number(words).gt(from, words);
  return to === Infinity ? lower : lower.max(to, words);
}

/** One of a few names. */
export function oneOf<const T extends readonly string[]>(names: T): z.ZodEnum<{ [K in T[number]]: K }> {
  return z.enum(names, `must be ${names.slice(0, -1).join(", ")} or ${names.at(-1)}`);
}

const WIDTHS = "must be a list of whole numbers from 1";
/** Widths of layers. */
export const widths = z.array(z.number(WIDTHS).int(WIDTHS).min(1, WIDTHS), WIDTHS).min(1, WIDTHS);

/** Bytes as people write them. Throws an error that says how. */
export function readBytes(text: string): number {
  const value = parseBytes(text);
  if (value === undefined) throw new Error("must be bytes, as in 512MiB");
  return value;
}

/** Widths with dashes between them. Throws an error that says how. */
export function readWidths(text: string): number[] {
  const read = text.split("-").map(Number);
  if (/^\d+(-\d+)*$/.test(text) && read.every((width) => width >= 1)) return read;
  throw new Error("must be whole numbers from 1 with dashes, as in 512-256-1");
}
