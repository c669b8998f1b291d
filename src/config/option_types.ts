/** Options and the types of their values. */
import { z } from "zod";
import { parseBytes } from "../format.ts";

/** A command line, for rules of options that exist only there. */
export interface CommandLine {
  /** The command. */
  readonly command: string;
  /** Its arguments. */
  readonly inputs: readonly string[];
  /** Options that were given there or in a configuration file, by long name. */
  readonly given: ReadonlySet<string>;
  /** Values of the options, defaults included. */
  readonly values: Readonly<Record<string, unknown>>;
}

/**
 * Returns why an option has no effect and what to do, as the end of "Cannot use --x ..." (it may begin with the value:
 * "mpi with ..."); undefined if it has an effect. The configuration is complete; there may be no command line.
 */
export type RuleOn<Config> = (config: Config, line: CommandLine | undefined) => string | undefined;

/** Another tool's name of an option; also its values there, if they differ. */
export interface Alias {
  /** The flag, with dashes. */
  readonly flag: string;
  /** Values in Hotset by values in the other tool. */
  readonly values?: Readonly<Record<string, string>>;
}

/** An option whose values are of type T. */
export interface OptionOf<T, Config> {
  /** Name and placeholder on the command line; undefined if another option sets it. */
  readonly flag?: string;
  /** Schema of its value. */
  readonly type: z.ZodType<T>;
  /** Parses text; by default a number, or the text itself for an enumeration. */
  readonly read?: (text: string) => unknown;
  /** The keys of the configuration that it sets, if it sets others than its own. */
  sets?(value: T): Partial<Config>;
  /** The mode of a configuration that chooses this option and no mode: the one that it is about. */
  readonly impliedMode?: "cpu" | "fae";
  /** Default; undefined if presets set it. */
  readonly default?: T;
  /** Description in `--help`. */
  readonly help?: string;
  /** Default as shown in `--help`, if not the value itself. */
  readonly shown?: string;
  /** Heading in `--help`. */
  readonly group?: string;
  /** Commands that accept it, by default train and import. */
  readonly commands?: readonly string[];
  /** When it has no effect. */
  readonly rules?: readonly RuleOn<Config>[];
  /** Its names in other tools. */
  readonly aliases?: readonly Alias[];
  /** True if a resumed run may change it. */
  readonly resumes?: true;
  /** True if it does not affect the sequence of steps: runs that differ only in it have equal checkpoints. */
  readonly free?: true;
  /** The value of runs recorded before the option existed. */
  readonly before?: T;
}

/** Options by the keys of a part of the configuration. Their rules may depend on more of it (`Config`). */
export type OptionsOf<Part, Config = Part> = { readonly [K in keyof Part]: OptionOf<Part[K], Config> };

/** Returns a function that declares options with this heading in `--help`. */
export function optionsIn<Config>(group: string) {
  return <T>(
    flag: string,
    help: string,
    rest: Omit<OptionOf<T, Config>, "flag" | "group" | "help">,
  ): OptionOf<T, Config> => ({ flag, group, help, ...rest });
}

/** Commands that take options about a run's memory. */
export const PLANNED = ["train", "import", "plan"];
/** Commands that take options about hot rows. */
export const PROFILED = ["train", "import", "plan", "profile", "layout"];

// The error of these types states the complete range, whichever bound is violated.

export function whole(from: number, to = Infinity): z.ZodNumber {
  const expected = `must be a whole number from ${from}${to === Infinity ? "" : ` to ${to}`}`;
  const lower = z.number(expected).int(expected).min(from, expected);
  return to === Infinity ? lower : lower.max(to, expected);
}

/** A whole number from 1. */
export const positive: z.ZodNumber = whole(1);
/** A whole number from 0. */
export const natural: z.ZodNumber = whole(0);

/** A number; `expected` describes its range. */
export function number(expected: string, from: number, to = Infinity, withFrom = true): z.ZodNumber {
  const words = `must be a number ${expected}`;
  const lower = withFrom ? z.number(words).min(from, words) : z.number(words).gt(from, words);
  return to === Infinity ? lower : lower.max(to, words);
}

export function oneOf<const T extends readonly string[]>(names: T): z.ZodEnum<{ [K in T[number]]: K }> {
  return z.enum(names, `must be ${names.slice(0, -1).join(", ")} or ${names.at(-1)}`);
}

const WIDTHS = "must be a list of whole numbers from 1";
export const widths = z.array(z.number(WIDTHS).int(WIDTHS).min(1, WIDTHS), WIDTHS).min(1, WIDTHS);

/** Parses a number of bytes with a unit. Throws an error that states the syntax. */
export function readBytes(text: string): number {
  const value = parseBytes(text);
  if (value === undefined) throw new Error("must be bytes, as in 512MiB");
  return value;
}

/** Parses widths separated by dashes. Throws an error that states the syntax. */
export function readWidths(text: string): number[] {
  const read = text.split("-").map(Number);
  if (/^\d+(-\d+)*$/.test(text) && read.every((width) => width >= 1)) return read;
  throw new Error("must be whole numbers from 1 with dashes, as in 512-256-1");
}
