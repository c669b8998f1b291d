import type { Command } from "commander";
import { writeProfileReport } from "../src/report/html/profile_report.ts";
import { profileTables } from "../src/report/tables.ts";
import { ensureProfile, openTogether } from "../src/run/stages.ts";
import {
  folderOf,
  placeOf,
  profileConfig,
  type ProfileFlags,
  type TeamFlags,
  withProfile,
  withSeed,
  withTeam,
} from "./options.ts";
import { runAsTeam } from "./run.ts";

/** hotset profile */
export function profile(program: Command): void {
  withTeam(withProfile(withSeed(program.command("profile"))))
    .description("Find a dataset's popular rows within a memory budget.")
    .argument("<dataset>", "directory made by prepare")
    .option(
      "--out <dir>",
      "directory of the profile (default: in hotset/, where train looks for it unless its --out lies elsewhere)",
    )
    .option("--report <file>", "HTML file to write: popularity, coverage and what another budget would buy")
    .addHelpText("after", "\nExample: hotset profile criteo --hot-memory 256MiB")
    .action((directory: string, flags: ProfileFlags & TeamFlags & { report?: string }) =>
      runAsTeam(flags, [folderOf(flags)], (report, team) => {
        const dataset = openTogether(directory, team);
        const profile = ensureProfile(dataset, profileConfig(flags), placeOf(flags), report, team);
        if (team.rank > 0) return;
        if (flags.report !== undefined) writeProfileReport(profile, dataset, flags.report);
        if (!flags.json) console.log(profileTables(profile.body));
      })
    );
}
