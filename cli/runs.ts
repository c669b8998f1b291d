import type { Command } from "commander";
import { runList } from "../src/report/run_tables.ts";
import { findRuns, summarizeRuns } from "../src/run/run_list.ts";
import { type Common, widthOfTerminal } from "./common_options.ts";
import { eventLine, run } from "./run.ts";

/** hotset runs */
export function runs(program: Command): void {
  program.command("runs")
    .description("List runs: state, data, the options in which they differ, metrics, time and size.")
    .argument("[dir...]", "runs, or directories with runs at most three levels below (default: this directory)")
    .addHelpText("after", "\nExample: hotset runs hotset")
    .action((given: string[], flags: Common) =>
      run(flags, () => {
        const directories = given.length === 0 ? ["."] : given;
        const found = summarizeRuns(findRuns(directories));
        if (flags.json) { for (const summary of found) console.log(eventLine({ event: "run", ...summary })); }
        else {console.log(
            found.length === 0 ? `No runs in ${directories.join(", ")}` : runList(found, widthOfTerminal()),
          );}
      })
    );
}
