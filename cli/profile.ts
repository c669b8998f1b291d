import type { Command } from "commander";
import { writeProfileReport } from "../src/report/html/profile_report.ts";
import { profileTables } from "../src/report/tables.ts";
import { ensureProfile, openTogether } from "../src/run/stages.ts";
import { type Common, folderOf, type GroupFlags, placeOf, withGroup } from "./options.ts";
import { runAsGroup } from "./run.ts";
import { type ConfigFlags, configOf, withTraining } from "./train_options.ts";

/** hotset profile */
export function profile(program: Command): void {
  withGroup(withTraining(program.command("profile")))
    .description("Find a dataset's popular rows within a memory budget.")
    .argument("<dataset>", "directory made by prepare")
    .option(
      "--out <dir>",
      "directory of the profile (default: in hotset/, where train looks for it unless its --out lies elsewhere)",
    )
    .option("--report <file>", "HTML file to write: popularity, coverage and what another budget would buy")
    .addHelpText("after", "\nExample: hotset profile criteo --hot-memory 256MiB")
    .action((directory: string, flags: ConfigFlags & Common & GroupFlags & { out?: string; report?: string }) =>
      runAsGroup(flags, [folderOf(flags)], (report, group) => {
        const dataset = openTogether(directory, group);
        const profile = ensureProfile(dataset, configOf(flags), placeOf(flags), report, group);
        if (group.rank > 0) return;
        if (flags.report !== undefined) writeProfileReport(profile, dataset, flags.report);
        if (!flags.json) console.log(profileTables(profile.body));
      })
    );
}
