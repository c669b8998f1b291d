/** An option of a command, with the rules by which it has no effect. */
import { type Command, Option } from "commander";
import type { Alias, CommandLine, RuleOn } from "../src/config/option_types.ts";
import type { TrainConfig } from "../src/config/train_config.ts";

/** An option with properties that `--help` does not show. */
export class Flag extends Option {
  /** When it has no effect. */
  rules: readonly RuleOn<TrainConfig>[] = [];
  /** Its names in other tools. */
  aliases: readonly Alias[] = [];
  /** True if a resumed run may change it. */
  resumes = false;
  /** True if it can be given several times, once for each value. */
  collects = false;

  /** Sets the rules by which it has no effect. */
  unless(...rules: ((line: CommandLine) => string | undefined)[]): this {
    this.rules = rules.map((rule) => (_, line) => line && rule(line));
    return this;
  }

  /** Collects the values of all its occurrences. Unlike `<names...>`, it does not take the words that follow a value. */
  collect(): this {
    this.collects = true;
    this.argParser((value: string, before: string[] = []) => [...before, value]);
    return this;
  }

  /** Permits it for a resumed run. */
  withResume(): this {
    this.resumes = true;
    return this;
  }

  /** Adds its name in another tool. */
  alsoNamed(flag: string): this {
    this.aliases = [...this.aliases, { flag }];
    return this;
  }
}

/** Adds options under a heading. */
export function addGroup(command: Command, heading: string, options: readonly Option[]): Command {
  for (const option of options) command.addOption(option.helpGroup(heading));
  return command;
}
