/** Refuses options that have no effect, so that none is silently ignored. */
import type { Option } from "commander";
import { UsageError } from "../src/errors.ts";
import type { CommandLine } from "../src/config/option_types.ts";
import { Flag } from "./flag.ts";
import { raw } from "./common_options.ts";
import { configOf } from "./train_options.ts";

/** For options that would change a resumed run. */
const notResumed = ({ values }: CommandLine) =>
  `with --resume: a resumed run keeps its options; start a new run from its model with --from ${values.out ?? "RUN"}`;

/** Throws UsageError that names an option of a command which was given and has no effect. */
export function expectEffect(line: CommandLine, options: readonly Option[]): void {
  const { command, inputs, given, values } = line;
  const resumes = command === "train" && given.has("--resume");
  if (resumes && values.out === undefined) throw new UsageError("Cannot resume: name the run with --out");
  if (resumes && inputs.length > 0) throw new UsageError(`Cannot use ${inputs[0]} ${notResumed(line)}`);
  if (given.has("--demo") && inputs.length > 0) throw new UsageError(`Cannot use ${inputs[0]} ${raw(line)}`);
  const config = configOf(command === "sweep" ? {} : values); // each run of a sweep is checked when it is known
  for (const option of options) {
    if (!given.has(option.long!)) continue;
    const { rules, resumes: free } = option instanceof Flag ? option : new Flag(option.flags);
    const reason = resumes && !free
      ? notResumed(line)
      : rules.map((rule) => rule(config, line)).find((reason) => reason !== undefined);
    if (reason !== undefined) throw new UsageError(`Cannot use ${option.long} ${reason}`);
  }
}
