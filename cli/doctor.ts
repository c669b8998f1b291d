import type { Command } from "commander";
import { diagnose } from "../src/doctor.ts";
import { diagnosisText } from "../src/report/tables.ts";
import type { Common } from "./common_options.ts";
import { eventLine, run } from "./run.ts";

/** hotset doctor */
export function doctor(program: Command): void {
  program.command("doctor")
    .description("Show what this machine has, what is missing, and how to install it.")
    .addHelpText("after", "\nExample: hotset doctor")
    .action((flags: Common) =>
      run(flags, async () => {
        const diagnosis = await diagnose();
        if (flags.json) return console.log(eventLine({ event: "doctor", ...diagnosis }));
        console.log(diagnosisText(diagnosis));
      })
    );
}
