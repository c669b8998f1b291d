import type { Command } from "commander";
import { HotsetError } from "../src/errors.ts";
import { reproduceRun } from "../src/run/reproduce.ts";
import type { Common } from "./common_options.ts";
import { eventLine, run } from "./run.ts";

/** hotset reproduce */
export function reproduce(program: Command): void {
  program.command("reproduce")
    .description("Repeat a run and compare the last checkpoints bit for bit.")
    .argument("<run>", "directory made by train")
    .option("--data <dataset>", "the run's dataset, if it is not where it was, relative to the run")
    .addHelpText("after", "\nExample: hotset reproduce hotset/run-1")
    .action((directory: string, flags: Common & { data?: string }) =>
      run(flags, async (report) => {
        // Events of the second run are not reported.
        const result = await reproduceRun(
          directory,
          (event) => event.event === "stage" && report(event),
          undefined,
          flags.data,
        );
        if (flags.json) console.log(eventLine(result));
        else if (result.equal) console.log(`${directory}: ${result.steps} steps repeated, all bits are equal`);
        if (result.equal) return;
        const changes = result.changes.length === 0 ? "" : `; changed since the run: ${result.changes.join("; ")}`;
        throw new HotsetError(`Cannot reproduce ${directory}: ${result.difference}${changes}`);
      })
    );
}
