import type { Command } from "commander";
import { ensureLayout, ensureProfile, openTogether } from "../src/run/stages.ts";
import { type Common, folderOf, type GroupFlags, HOME, placeOf, withGroup } from "./common_options.ts";
import { runAsGroup } from "./run.ts";
import { type ConfigFlags, configOf, withTraining } from "./train_options.ts";

/** hotset layout */
export function layout(program: Command): void {
  withGroup(withTraining(program.command("layout")))
    .description("Pack a dataset into hot and cold batches.")
    .argument("<dataset>", "directory made by prepare")
    .option(
      "--out <dir>",
      "directory of the layout (default: in hotset/, where train finds it unless its --out is in another directory)",
    )
    .addHelpText("after", "\nExample: hotset layout criteo --hot-memory 256MiB --batch-size 2048")
    .action((directory: string, flags: ConfigFlags & Common & GroupFlags & { out?: string }) =>
      runAsGroup(flags, [HOME, folderOf(flags)], (report, group) => {
        const dataset = openTogether(directory, group);
        const config = configOf(flags);
        const profile = ensureProfile(dataset, config, { cache: HOME }, report, group);
        using layout = ensureLayout(dataset, profile, config, placeOf(flags), report, group);
        if (!flags.json && group.rank === 0) console.log(layout.directory);
      })
    );
}
