import type { Command } from "commander";
import { ensureLayout, ensureProfile, type LayoutConfig, openTogether } from "../src/run/stages.ts";
import {
  DEFAULTS,
  folderOf,
  type GroupFlags,
  HOME,
  placeOf,
  positive,
  profileConfig,
  type ProfileFlags,
  shuffleOption,
  withGroup,
  withProfile,
  withSeed,
} from "./options.ts";
import { runAsGroup } from "./run.ts";

/** hotset layout */
export function layout(program: Command): void {
  withGroup(withProfile(withSeed(program.command("layout"))))
    .description("Pack a dataset into hot and cold batches.")
    .argument("<dataset>", "directory made by prepare")
    .option("--batch-size <n>", "samples to a batch", positive, DEFAULTS.batchSize)
    .addOption(shuffleOption().default(DEFAULTS.shuffle))
    .option(
      "--out <dir>",
      "directory of the layout (default: in hotset/, where train looks for it unless its --out lies elsewhere)",
    )
    .addHelpText("after", "\nExample: hotset layout criteo --hot-memory 256MiB --batch-size 2048")
    .action((directory: string, flags: ProfileFlags & GroupFlags & LayoutConfig) =>
      runAsGroup(flags, [HOME, folderOf(flags)], (report, group) => {
        const dataset = openTogether(directory, group);
        const profile = ensureProfile(dataset, profileConfig(flags), { cache: HOME }, report, group);
        using layout = ensureLayout(dataset, profile, flags, placeOf(flags), report, group);
        if (!flags.json && group.rank === 0) console.log(layout.directory);
      })
    );
}
