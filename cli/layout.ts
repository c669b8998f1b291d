import type { Command } from "commander";
import { ensureLayout, ensureProfile, type LayoutConfig, openTogether } from "../src/run/stages.ts";
import {
  DEFAULTS,
  folderOf,
  HOME,
  placeOf,
  positive,
  profileConfig,
  type ProfileFlags,
  shuffleOption,
  type TeamFlags,
  withProfile,
  withSeed,
  withTeam,
} from "./options.ts";
import { runAsTeam } from "./run.ts";

/** hotset layout */
export function layout(program: Command): void {
  withTeam(withProfile(withSeed(program.command("layout"))))
    .description("Pack a dataset into hot and cold batches.")
    .argument("<dataset>", "directory made by prepare")
    .option("--batch-size <n>", "samples to a batch", positive, DEFAULTS.batchSize)
    .addOption(shuffleOption().default(DEFAULTS.shuffle))
    .option(
      "--out <dir>",
      "directory of the layout (default: in hotset/, where train looks for it unless its --out lies elsewhere)",
    )
    .addHelpText("after", "\nExample: hotset layout criteo --hot-memory 256MiB --batch-size 2048")
    .action((directory: string, flags: ProfileFlags & TeamFlags & LayoutConfig) =>
      runAsTeam(flags, [HOME, folderOf(flags)], (report, team) => {
        const dataset = openTogether(directory, team);
        const profile = ensureProfile(dataset, profileConfig(flags), { cache: HOME }, report, team);
        using layout = ensureLayout(dataset, profile, flags, placeOf(flags), report, team);
        if (!flags.json && team.rank === 0) console.log(layout.directory);
      })
    );
}
