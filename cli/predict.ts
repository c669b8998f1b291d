import type { Command } from "commander";
import { expectNoInput, findInputs } from "../src/dataset/inputs.ts";
import { keepColumns, predictRun, writeScores } from "../src/run/score_run.ts";
import { type Common, spooled, type UnknownFlags, withUnknown } from "./common_options.ts";
import { run } from "./run.ts";
import { type ConfigFlags, trainLayer, withTraining } from "./train_options.ts";

type PredictFlags = ConfigFlags & Common & UnknownFlags & { out?: string; keep?: string[] };

/** hotset predict */
export function predict(program: Command): void {
  withTraining(withUnknown(program.command("predict")))
    .description("Predict click probabilities of raw rows, as CSV (or JSON lines with --json).")
    .argument("<run>", "directory made by train, or file made by pack")
    .argument("<input...>", "raw files, - is standard input; the label column may be missing")
    .option("--out <file>", "file to write (default: stdout)")
    .option("--keep <columns...>", "columns of the input to write beside the scores")
    .addHelpText("after", "\nExample: hotset predict hotset/run-1 new.csv --keep user_id item --out scores.csv")
    .action((directory: string, given: string[], flags: PredictFlags) =>
      run(flags, async (report, atEnd, { signal }) => {
        const inputs = await spooled(given, atEnd);
        if (flags.out !== undefined) expectNoInput(flags.out, findInputs(inputs));
        const kept = flags.keep === undefined ? undefined : await keepColumns(directory, inputs, flags.keep);
        const options = { signal, maxUnknown: flags.maxUnknown, ...trainLayer(flags) };
        const scores = await predictRun(directory, inputs, options, report);
        await writeScores(scores, flags.out, flags.json ? "json" : "csv", kept);
      })
    );
}
