import type { Command } from "commander";
import { profileTables } from "../src/report/tables.ts";
import { ensureProfile, openTogether } from "../src/run/stages.ts";
import {
  cacheFlag,
  type CacheFlags,
  type Common,
  folderOf,
  type GroupFlags,
  placeOf,
  withGroup,
} from "./common_options.ts";
import { runAsGroup } from "./run.ts";
import { type ConfigFlags, configOn, withTraining } from "./train_options.ts";

/** hotset profile */
export function profile(program: Command): void {
  withGroup(withTraining(program.command("profile")))
    .description("Find the most popular rows of a dataset that fit a memory budget.")
    .argument("<dataset>", "directory made by prepare")
    .option(
      "--out <dir>",
      "directory of the profile (default: in the cache, where train finds it if it has the same one)",
    )
    .addOption(
      cacheFlag("hotset").unless(({ given }) =>
        given.has("--out") ? "with --out: the profile is written there; leave out one of them" : undefined
      ),
    )
    .option("--report <file>", "HTML report to write: popularity, and coverage by budget")
    .addHelpText("after", "\nExample: hotset profile criteo --hot-memory 256MiB")
    .action((
      directory: string,
      flags: ConfigFlags & Common & GroupFlags & CacheFlags & { out?: string; report?: string },
    ) =>
      runAsGroup(flags, [folderOf(flags)], async (report, group) => {
        const dataset = await openTogether(directory, group);
        const profile = await ensureProfile(dataset, configOn(flags, dataset, report), placeOf(flags), report, group);
        if (group.rank > 0) return;
        if (flags.report !== undefined) {
          const { writeProfileReport } = await import("../src/report/html/profile_report.ts");
          await writeProfileReport(profile, dataset, flags.report);
        }
        if (!flags.json) console.log(profileTables(profile.body));
      })
    );
}
