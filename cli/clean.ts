import { existsSync } from "node:fs";
import type { Command } from "commander";
import { bytes } from "../src/format.ts";
import { cacheList } from "../src/report/run_tables.ts";
import { bytesToFree, clean as cleanCaches, inspectCaches } from "../src/run/clean.ts";
import { cacheFlag, type CacheFlags, type Common, namedCache } from "./common_options.ts";
import { eventLine, run } from "./run.ts";

/** hotset clean */
export function clean(program: Command): void {
  program.command("clean")
    .description("List what of the caches no run needs, with its size; --yes removes it.")
    .argument(
      "[dir...]",
      "directories with runs and caches at most three levels below (default: this one)",
    )
    .addOption(cacheFlag("only those of the directories"))
    .option("--yes", "remove it; without this nothing is removed")
    .option("--other-hosts", "also what processes of other hosts left; make sure that none of them runs")
    .addHelpText(
      "after",
      "\nRuns, and datasets made by prepare, are never removed. Name all directories with runs that use the caches; those\n" +
        "that named a cache, by --cache or HOTSET_CACHE, are known.\n" +
        "\nExample: hotset clean hotset --yes",
    )
    .action((given: string[], flags: Common & CacheFlags & { yes?: boolean; otherHosts?: boolean }) =>
      run(flags, () => {
        const named = namedCache(flags);
        // A cache of the environment is made by the first run.
        const cache = named !== undefined && (flags.cache !== undefined || existsSync(named)) ? [named] : [];
        const directories = [...(given.length === 0 ? ["."] : given), ...cache];
        const items = inspectCaches(directories, flags);
        if (flags.json) { for (const item of items) console.log(eventLine({ event: "cache", ...item })); }
        else if (items.length > 0) console.log(cacheList(items));
        const freed = flags.yes ? cleanCaches(directories, flags).bytes : bytesToFree(items);
        if (flags.json) console.log(eventLine({ event: "clean", removed: flags.yes ?? false, bytes: freed }));
        else if (flags.yes) console.log(`Freed ${bytes(freed)}`);
        else {console.log(
            freed === 0 ? "Nothing to remove" : `--yes removes what is not needed, and frees ${bytes(freed)}`,
          );}
      })
    );
}
