import { type Command, Option } from "commander";
import { EXPORT_FORMATS, type ExportFormat, exportRun } from "../src/interop/export_run.ts";
import type { Common } from "./common_options.ts";
import { eventLine, run } from "./run.ts";

/** hotset export */
export function exportModel(program: Command): void {
  program.command("export")
    .description("Export a run's best model in a format of other tools.")
    .argument("<run>", "directory made by train, or file made by pack")
    .addOption(
      new Option("--format <name>", "format of the file").choices(EXPORT_FORMATS).makeOptionMandatory(),
    )
    .requiredOption(
      "--out <file>",
      "file to write; the raw values of its rows and the weights of an ONNX model are written beside it",
    )
    .addHelpText("after", "\nExample: hotset export hotset/run-1 --format onnx --out clicks.onnx")
    .action((directory: string, flags: Common & { format: ExportFormat; out: string }) =>
      run(flags, async (report) => {
        const files = await exportRun(directory, flags.format, flags.out, report);
        console.log(flags.json ? eventLine({ event: "exported", files }) : files.join("\n"));
      })
    );
}
