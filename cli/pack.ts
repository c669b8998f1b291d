import type { Command } from "commander";
import { bytes } from "../src/format.ts";
import { packRun } from "../src/run/packed_run.ts";
import type { Common } from "./common_options.ts";
import { eventLine, run } from "./run.ts";

/** hotset pack */
export function pack(program: Command): void {
  program.command("pack")
    .description("Write a run's best model with its dictionary to one file, to be used like the run anywhere.")
    .argument("<run>", "directory made by train")
    .argument("<file>", "file to write")
    .addHelpText("after", "\nExample: hotset pack hotset/run-1 clicks.hotset")
    .action((directory: string, file: string, flags: Common) =>
      run(flags, async (report) => {
        const size = await packRun(directory, file, report);
        console.log(flags.json ? eventLine({ event: "packed", file, bytes: size }) : `${file} (${bytes(size)})`);
      })
    );
}
