import type { Command } from "commander";
import { ensureLayout, ensureProfile, openTogether } from "../src/run/stages.ts";
import {
  cacheFlag,
  type CacheFlags,
  type Common,
  folderOf,
  type GroupFlags,
  HOME,
  namedCache,
  placeOf,
  withGroup,
} from "./common_options.ts";
import { runAsGroup } from "./run.ts";
import { type ConfigFlags, configOn, withTraining } from "./train_options.ts";

/** hotset layout */
export function layout(program: Command): void {
  withGroup(withTraining(program.command("layout")))
    .description("Pack a dataset into hot and cold batches.")
    .argument("<dataset>", "directory made by prepare")
    .option(
      "--out <dir>",
      "directory of the layout (default: in the cache, where train finds it if it has the same one)",
    )
    .addOption(cacheFlag("hotset"))
    .addHelpText("after", "\nExample: hotset layout criteo --hot-memory 256MiB --batch-size 2048")
    .action((directory: string, flags: ConfigFlags & Common & GroupFlags & CacheFlags & { out?: string }) =>
      runAsGroup(flags, [namedCache(flags) ?? HOME, folderOf(flags)], async (report, group) => {
        const dataset = await openTogether(directory, group);
        const config = configOn(flags, dataset, report);
        const profile = await ensureProfile(dataset, config, { cache: namedCache(flags) ?? HOME }, report, group);
        using layout = await ensureLayout(dataset, profile, config, placeOf(flags), report, group);
        if (!flags.json && group.rank === 0) console.log(layout.directory);
      })
    );
}
