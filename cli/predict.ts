import type { Command } from "commander";
import { expectNoInput, findInputs } from "../src/dataset/inputs.ts";
import { predictRun, writeScores } from "../src/run/score_run.ts";
import { type Common, type UnknownFlags, withUnknown } from "./common_options.ts";
import { run } from "./run.ts";
import { type ConfigFlags, trainLayer, withTraining } from "./train_options.ts";

/** hotset predict */
export function predict(program: Command): void {
  withTraining(withUnknown(program.command("predict")))
    .description("Predict click probabilities of raw rows, as CSV (or JSON lines with --json).")
    .argument("<run>", "directory made by train, or file made by pack")
    .argument("<input...>", "raw files; the label column may be missing")
    .option("--out <file>", "file to write (default: stdout)")
    .addHelpText("after", "\nExample: hotset predict hotset/run-1 new.tsv --out scores.csv")
    .action((directory: string, inputs: string[], flags: ConfigFlags & Common & UnknownFlags & { out?: string }) =>
      run(flags, async (report, _, { signal }) => {
        if (flags.out !== undefined) expectNoInput(flags.out, findInputs(inputs));
        writeScores(
          await predictRun(directory, inputs, {
            signal,
            maxUnknown: flags.maxUnknown,
            ...trainLayer(flags),
          }, report),
          flags.out,
          flags.json ? "json" : "csv",
        );
      })
    );
}
