import type { Command } from "commander";
import { writeProfileReport } from "../src/report/html/profile_report.ts";
import { profileTables } from "../src/report/tables.ts";
import { ensureProfile, openTogether } from "../src/run/stages.ts";
import {
  folderOf,
  type GroupFlags,
  placeOf,
  profileConfig,
  type ProfileFlags,
  withGroup,
  withProfile,
  withSeed,
} from "./options.ts";
import { runAsGroup } from "./run.ts";

/** hotset profile */
export function profile(program: Command): void {
  withGroup(withProfile(withSeed(program.command("profile"))))
    .description("Find a dataset's popular rows within a memory budget.")
    .argument("<dataset>", "directory made by prepare")
    .option(
      "--out <dir>",
      "directory of the profile (default: in hotset/, where train looks for it unless its --out lies elsewhere)",
    )
    .option("--report <file>", "HTML file to write: popularity, coverage and what another budget would buy")
    .addHelpText("after", "\nExample: hotset profile criteo --hot-memory 256MiB")
    .action((directory: string, flags: ProfileFlags & GroupFlags & { report?: string }) =>
      runAsGroup(flags, [folderOf(flags)], (report, group) => {
        const dataset = openTogether(directory, group);
        const profile = ensureProfile(dataset, profileConfig(flags), placeOf(flags), report, group);
        if (group.rank > 0) return;
        if (flags.report !== undefined) writeProfileReport(profile, dataset, flags.report);
        if (!flags.json) console.log(profileTables(profile.body));
      })
    );
}
