/** All commands, and the execution of a command line. */
import process from "node:process";
import { Command, CommanderError } from "commander";
import { outliveTerminal } from "../src/report/terminal.ts";
import config from "../deno.json" with { type: "json" };
import { expandConfig, type KnownOption, translateArguments } from "./arguments.ts";
import { clean } from "./clean.ts";
import { compare } from "./compare.ts";
import { doctor } from "./doctor.ts";
import { evaluate } from "./evaluate.ts";
import { exportModel } from "./export.ts";
import { generate } from "./generate.ts";
import { importModel } from "./import.ts";
import { layout } from "./layout.ts";
import { pack } from "./pack.ts";
import { plan } from "./plan.ts";
import { predict } from "./predict.ts";
import { prepare } from "./prepare.ts";
import { profile } from "./profile.ts";
import { report } from "./report.ts";
import { reproduce } from "./reproduce.ts";
import { runs } from "./runs.ts";
import { serve } from "./serve.ts";
import { sweep } from "./sweep.ts";
import { train } from "./train.ts";
import { expectEffect } from "./effects.ts";
import { withCommon } from "./common_options.ts";
import { Flag } from "./flag.ts";
import { eventLine, fail } from "./run.ts";

/** All commands. */
export const program = new Command("hotset")
  .description("Train recommendation models fast by keeping popular embedding rows where the compute is.")
  .version(config.version)
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(`${text.trimEnd().replaceAll("\n", " ")}\n`) });

const COMMANDS = [
  prepare,
  generate,
  profile,
  layout,
  train,
  plan,
  evaluate,
  predict,
  serve,
  runs,
  compare,
  sweep,
  report,
  clean,
  reproduce,
  exportModel,
  importModel,
  pack,
  doctor,
];
for (const add of COMMANDS) add(program);
for (const command of program.commands) withCommon(command);

/** Throws UsageError if an option was given that has no effect. */
function expectOptions(command: Command): void {
  const given = command.options
    .filter((option) => command.getOptionValueSource(option.attributeName()) === "cli")
    .map(({ long }) => long!);
  const line = { command: command.name(), inputs: command.args, given: new Set(given), values: command.opts() };
  expectEffect(line, command.options);
}
program.hook("preAction", (_, command) => expectOptions(command));

/** What a configuration file may set for a command; undefined for an unknown command. */
function knownOptions(name: string | undefined): KnownOption[] | undefined {
  const command = program.commands.find((command) => command.name() === name);
  return command?.options.filter(({ long }) => long !== "--config").map((option) => ({
    name: option.long!.slice("--".length),
    takesValue: option.required || option.optional,
    takesList: option.variadic || (option instanceof Flag && option.collects),
    check: (value) => option.parseArg?.(value, undefined),
  }));
}

/** Runs one command line; sets process.exitCode. */
async function execute(given: string[]): Promise<void> {
  let words = given;
  try {
    const { arguments: translated, ignored } = translateArguments(
      expandConfig(given, knownOptions(given[0])),
    );
    words = translated;
    if (ignored.length > 0 && !words.includes("--quiet")) {
      console.error(`Without effect here: ${ignored.join(", ")}`);
    }
    await program.parseAsync(words, { from: "user" });
  } catch (error) {
    const json = words.includes("--json");
    if (!(error instanceof CommanderError)) return fail(error, { json });
    if (error.exitCode === 0) return;
    process.exitCode = 2;
    if (!json) return; // commander has printed it to stderr
    const message = error.message.replace(/^error: /, "").replaceAll("\n", " ");
    console.log(eventLine({ event: "error", code: "usage", message }));
  }
}

/** Runs one command line and, if that failed, ends the process. */
export async function main(given: string[]): Promise<void> {
  outliveTerminal();
  // The reader of the output may have closed the pipe: `hotset -h | head`.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(0);
  });
  await execute(given);
  // A thread may block forever in a foreign call that waits for a failed rank; the process must not wait for it.
  if (process.exitCode) process.exit();
}
