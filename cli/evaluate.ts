import type { Command } from "commander";
import { evaluationTable } from "../src/report/tables.ts";
import { evaluateRun } from "../src/run/score_run.ts";
import { type Common, spooled, type UnknownFlags, widthOfTerminal, withUnknown } from "./common_options.ts";
import { run } from "./run.ts";
import { type ConfigFlags, trainLayer, withTraining } from "./train_options.ts";

/** hotset evaluate */
export function evaluate(program: Command): void {
  withTraining(withUnknown(program.command("evaluate")))
    .description("Evaluate a run's best checkpoint.")
    .argument("<run>", "directory made by train, or file made by pack")
    .argument(
      "[input...]",
      "raw files with labels, or another dataset with the same dictionary (default: the run's own)",
    )
    .addHelpText("after", "\nExample: hotset evaluate hotset/run-1 day_2.tsv")
    .action((directory: string, given: string[], flags: ConfigFlags & Common & UnknownFlags) =>
      run(flags, async (report, atEnd, { signal }) => {
        const inputs = await spooled(given, atEnd);
        const events = await evaluateRun(directory, inputs, report, {
          signal,
          maxUnknown: flags.maxUnknown,
          ...trainLayer(flags),
        });
        if (!flags.json) console.log(evaluationTable(events, widthOfTerminal()));
      })
    );
}
