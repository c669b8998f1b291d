/** An option of a command that says when it acts. */
import { type Command, Option } from "commander";
import type { Alias, CommandLine } from "../src/config/option_types.ts";
import type { Rule } from "../src/config/option_rules.ts";

/** An option with what `--help` does not show. */
export class Flag extends Option {
  /** When it does nothing. */
  rules: readonly Rule[] = [];
  /** Other tools' names for it. */
  aliases: readonly Alias[] = [];
  /** True if it may be given to a run that goes on. */
  resumes = false;

  /** Names rules by which it may do nothing. */
  unless(...rules: ((line: CommandLine) => string | undefined)[]): this {
    this.rules = rules.map((rule) => (_, line) => line && rule(line));
    return this;
  }

  /** Lets it be given to a run that goes on. */
  withResume(): this {
    this.resumes = true;
    return this;
  }

  /** Gives it another tool's name. */
  alsoNamed(flag: string): this {
    this.aliases = [...this.aliases, { flag }];
    return this;
  }
}

/** Adds options under a heading of their own. */
export function addGroup(command: Command, heading: string, options: readonly Option[]): Command {
  for (const option of options) command.addOption(option.helpGroup(heading));
  return command;
}
