import type { Command } from "commander";
import { comparisonNotes, comparisonText } from "../src/report/run_tables.ts";
import { summarizeRun } from "../src/run/run_list.ts";
import { type Common, widthOfTerminal } from "./common_options.ts";
import { eventLine, run } from "./run.ts";

/** hotset compare */
export function compare(program: Command): void {
  program.command("compare")
    .description("Compare runs: the options in which they differ, and their metrics side by side.")
    .argument("<run...>", "directories made by train")
    .option("--report <file>", "HTML report to write: the same, with the learning curves in one chart")
    .addHelpText("after", "\nExample: hotset compare hotset/run-1 hotset/run-2 --report runs.html")
    .action((directories: string[], flags: Common & { report?: string }) =>
      run(flags, async (report) => {
        const summaries = directories.map(summarizeRun);
        for (const text of comparisonNotes(summaries)) report({ event: "note", text });
        if (flags.report !== undefined) {
          const { writeComparison } = await import("../src/report/html/comparison_report.ts");
          await writeComparison(summaries, flags.report);
        }
        if (!flags.json) console.log(comparisonText(summaries, widthOfTerminal()));
        else for (const summary of summaries) console.log(eventLine({ event: "run", ...summary }));
      })
    );
}
