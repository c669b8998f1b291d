/** Options that several commands share, and their values. Training options are in src/config/options.ts. */
import { dirname } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { isArtifact } from "../src/storage/artifact.ts";
import { type Format, FORMATS } from "../src/dataset/formats.ts";
import { guessFormat } from "../src/dataset/guess_format.ts";
import type { Report } from "../src/events/events.ts";
import type { Interrupt } from "./interrupt.ts";
import type { CommandLine } from "../src/config/option_types.ts";
import { TemporaryDirectory } from "../src/storage/temporary.ts";
import type { Place } from "../src/run/stages.ts";
import { UsageError } from "../src/errors.ts";
import { addGroup, Flag } from "./flag.ts";

/** Default directory in which `train` keeps its runs and looks for profiles and layouts. */
export const HOME = "hotset";

/** Values of options that every command has. */
export interface Common {
  json?: boolean;
  quiet?: boolean;
  verbose?: boolean;
  collective?: string;
}

/** Parses an option's text; errors state what the value must be. */
export const reading = <T>(read: (text: string) => T) => (text: string): T => {
  try {
    return read(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message.replace(/^must be (.*)$/, "Expected $1."));
  }
};

const number = (check: (value: number) => boolean, expected: string) =>
  reading((text: string) => {
    const value = Number(text);
    if (text.trim() === "" || !check(value)) throw new Error(`must be ${expected}`);
    return value;
  });
export const positive = number((value) => Number.isSafeInteger(value) && value > 0, "a whole number from 1");
export const share = number((value) => value >= 0 && value < 1, "a number from 0 to below 1");
/** A port to listen on. */
export const port = reading((text) => {
  const value = Number(text);
  if (/^[0-9]+$/.test(text) && value < 65_536) return value;
  throw new Error("must be a number from 0 (any that is free) to 65535");
});
export const real = number((value) => Number.isFinite(value) && value > 0, "a number above 0");

const GENERAL = "General:";
export const RAW = "Raw files:";

export const withCommon = (command: Command) => {
  command.helpOption(false).addHelpOption(new Option("-h, --help", "show this help").helpGroup(GENERAL));
  return addGroup(command, GENERAL, [
    new Flag("--json", "print one JSON object per line to stdout").withResume(),
    new Flag("--quiet", "no progress on stderr").withResume(),
    new Flag("--verbose", "stack traces with errors").withResume(),
  ]);
};

/** How the stages before training are divided. */
export interface GroupFlags {
  collective: "shared" | "mpi";
}

export const withGroup = (command: Command) =>
  command.addOption(
    new Flag("--collective <name>", "which processes work: this one, or all that mpirun started, on a shared disk")
      .choices(["shared", "mpi"]).default("shared"),
  );

/** For options about data that the user names. */
const data = ({ command, given }: CommandLine) => {
  if (given.has("--infer")) return "with --infer: that only proposes a schema; leave out one of them";
  return command === "train" && given.has("--demo")
    ? "with --demo: it trains on generated data; leave out one of them"
    : undefined;
};

/** For options about how raw files are read. */
export const raw = (line: CommandLine) => {
  const { command, inputs } = line;
  const reason = data(line);
  if (reason !== undefined || command !== "train") return reason;
  return inputs.length > 0 && isArtifact(inputs[0])
    ? `with the dataset ${inputs[0]}: it is already prepared`
    : undefined;
};

/** A label is named only where columns are inferred. */
const labelRule = (line: CommandLine) => {
  if (line.given.has("--schema")) return "with --schema: that names the label; leave out one of them";
  if (line.given.has("--from")) return "with --from: the columns are those of its model; leave out one of them";
  return line.given.has("--infer") ? undefined : raw(line);
};

/** Negatives are drawn only with --negatives. */
const drawing = (line: CommandLine) =>
  raw(line) ?? (line.given.has("--negatives") ? undefined : "without --negatives: nothing is drawn; leave it out");

export const withRaw = (command: Command) =>
  addGroup(
    command,
    RAW,
    [
      new Flag(
        "--format <name>",
        "format of raw files (default: by the content; dlrm and taobao-sessions must be named)",
      ).choices(FORMATS),
      new Flag("--schema <file>", "JSON file that describes the columns of csv and parquet input (default: inferred)"),
      new Flag("--label <column>", "column of the label, where the columns are inferred").unless((line) =>
        labelRule(line)
      ),
      new Flag("--group <column>", "column of groups, such as user: AUC (GAUC) and logloss are also computed by group"),
      new Flag("--weight <column>", "column of the samples' weights in the loss and in metrics, numbers above 0"),
      new Flag(
        "--negatives <n>",
        "number of negatives to draw for each positive, from items that its --group never chose",
      )
        .argParser(positive),
      new Flag(
        "--item <column>",
        "column that identifies the items that --negatives draws; give it again for other columns of an item",
      ).collect().unless(drawing),
      new Flag(
        "--negative-power <a>",
        "exponent of an item's frequency when negatives are drawn (default: 0, uniformly)",
      )
        .argParser(number((value) => value >= 0 && value <= 1, "a number from 0 to 1")).unless(drawing),
      new Flag("--negative-seed <n>", "seed of the negatives (default: 123)").argParser(positive).unless(drawing),
      new Flag(
        "--validation <files...>",
        "raw files that become the validation split: all that follow, so after the inputs",
      ),
      new Flag("--test <files...>", "raw files that become the test split: all that follow, so after the inputs"),
      new Flag("--min-frequency <n>", "values seen less often than this share one row").argParser(positive).default(1),
      new Flag("--max-ind-range <n>", "hash values into this range first").argParser(positive),
      new Flag(
        "--validation-fraction <share>",
        "fraction of the samples for validation, after those for training (default: 0.05, or 0 with --validation)",
      ).argParser(share),
      new Flag(
        "--test-fraction <share>",
        "fraction of the samples for testing, the last ones (default: 0.1, or 0 with --test)",
      ).argParser(share),
      new Flag("--on-bad-row <what>", "what to do with malformed rows").choices(["fail", "skip"]).default("fail"),
    ].map((flag) => flag.rules.length === 0 ? flag.unless(raw) : flag),
  );

export const withUnknown = (command: Command) =>
  addGroup(command, RAW, [
    new Flag(
      "--max-unknown <share>",
      "maximum share of a table's lookups with values outside the dictionary (default: no limit, a note from 0.5)",
    ).argParser(number((value) => value >= 0 && value <= 1, "a number from 0 to 1")).unless(data),
  ]);

export interface UnknownFlags {
  maxUnknown?: number;
}

/** The error that there are no inputs; files that an option took may have been meant as such. */
export function noInputs({ validation, test }: Pick<RawFlags, "validation" | "test">, missing: string): UsageError {
  const [flag, taken] = validation === undefined ? ["--test", test] : ["--validation", validation];
  const advice = taken === undefined || taken.length < 2
    ? ""
    : `; ${flag} takes all files that follow it (${taken.join(", ")}): name the others before it`;
  return new UsageError(`${missing}${advice}`);
}

export interface RawFlags extends UnknownFlags {
  expire?: number;
  format?: Format;
  schema?: string;
  label?: string;
  group?: string;
  weight?: string;
  negatives?: number;
  item?: string[];
  negativePower?: number;
  negativeSeed?: number;
  validation?: string[];
  test?: string[];
  minFrequency: number;
  maxIndRange?: number;
  validationFraction?: number;
  testFraction?: number;
  onBadRow: "fail" | "skip";
}

/** Removes undefined values: optional properties must be absent, not undefined. */
function given<T extends object>(record: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as never;
}

/**
 * How raw files are read. Where no format is given it is guessed from the content, and columns are inferred; not for a
 * model that grows, whose data says it, nor by several processes, where each would guess.
 */
export async function rawOptions(
  inputs: readonly string[],
  { group, negatives, item = [], negativePower: power, negativeSeed: seed, validation, test, ...flags }: RawFlags,
  { signal }: Interrupt,
  report: Report,
  guesses: boolean,
) {
  const { label, minFrequency, maxIndRange, validationFraction, testFraction, onBadRow, maxUnknown, weight, expire } =
    flags;
  const onProgress = (fraction: number) => report({ event: "stage", stage: "infer", fraction });
  const onNote = (text: string) => report({ event: "note", text });
  const { format, schema } = guesses && inputs.length > 0 && !isArtifact(inputs[0])
    ? await guessFormat(inputs, { format: flags.format, schema: flags.schema, label }, onProgress, onNote)
    : { format: flags.format ?? "criteo", schema: flags.schema };
  return given({
    format,
    schema,
    groupBy: group,
    weight,
    negatives: negatives === undefined ? undefined : given({ count: negatives, item, power, seed }),
    validationInputs: validation,
    testInputs: test,
    minFrequency,
    maxIndRange,
    validationFraction,
    testFraction,
    onBadRow,
    maxUnknown,
    expire,
    signal,
  });
}

/** Environment variable that names the cache, unless an option does. */
const CACHE_VARIABLE = "HOTSET_CACHE";

export interface CacheFlags {
  cache?: string;
}

/** The option that names the cache; `otherwise` is where it is if nothing names it. */
export const cacheFlag = (otherwise: string): Flag =>
  new Flag(
    "--cache <dir>",
    `directory of the datasets, profiles and layouts that runs share (default: ${CACHE_VARIABLE}, else ${otherwise})`,
  );

/** The cache that an option or the environment names. */
export function namedCache({ cache }: CacheFlags): string | undefined {
  if (cache !== undefined) return cache;
  const { state } = Deno.permissions.querySync({ name: "env", variable: CACHE_VARIABLE });
  return state === "granted" ? Deno.env.get(CACHE_VARIABLE) || undefined : undefined;
}

export function placeOf(flags: CacheFlags & { out?: string }): Place {
  return flags.out === undefined ? { cache: namedCache(flags) ?? HOME } : { out: flags.out };
}

/** The folder that the output is created in. */
export function folderOf(flags: CacheFlags & { out?: string }): string {
  return flags.out === undefined ? namedCache(flags) ?? HOME : dirname(flags.out);
}

/** Characters of a line of stdout; undefined unless it is a terminal that has a size: that of mpirun has none. */
export function widthOfTerminal(): number | undefined {
  return Deno.stdout.isTerminal() ? Deno.consoleSize().columns || undefined : undefined;
}

/** Waits until a signal ends a command that serves. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve());
  });
}

/** Inputs with standard input, which `-` names, as a temporary file: it is read more than once. */
export async function spooled(inputs: readonly string[], atEnd: DisposableStack): Promise<string[]> {
  if (!inputs.includes("-")) return [...inputs];
  const directory = atEnd.use(new TemporaryDirectory("hotset-"));
  const path = directory.join("stdin");
  await Deno.writeFile(path, Deno.stdin.readable, { createNew: true });
  return inputs.map((input) => input === "-" ? path : input);
}
