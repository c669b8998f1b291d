import { type Command, Option } from "commander";
import { type ImportOptions, importRun, ROW_NUMBERS } from "../src/interop/import_run.ts";
import type { Common } from "./common_options.ts";
import { eventLine, run } from "./run.ts";
import { type ConfigFlags, trainLayer, withTraining } from "./train_options.ts";

/** hotset import */
export function importModel(program: Command): void {
  const importing = program.command("import")
    .description("Create a run from a facebookresearch/dlrm model saved as safetensors.")
    .argument("<file>", "the state dict")
    .requiredOption("--data <dataset>", "directory made by prepare")
    .requiredOption("--out <run>", "directory of the run")
    .addOption(
      new Option("--ids <what>", "how rows are numbered in the file: dataset ids or raw values (default: as exported)")
        .choices(ROW_NUMBERS),
    )
    .addHelpText("after", "\nExample: hotset import dlrm.safetensors --data criteo --ids values --out hotset/imported")
    .action((file: string, flags: ConfigFlags & Common & { data: string; out: string; ids?: ImportOptions["ids"] }) =>
      run(flags, async (report) => {
        const { data, out, ids } = flags;
        await importRun(file, { data, out, ids, config: trainLayer(flags) }, report);
        console.log(flags.json ? eventLine({ event: "imported", run: out }) : out);
      })
    );
  withTraining(importing);
}
