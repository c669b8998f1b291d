import type { Command } from "commander";
import type { Preset } from "../src/config/config.ts";
import { configByData } from "../src/config/config_by_data.ts";
import { HotsetError } from "../src/errors.ts";
import { runList } from "../src/report/run_tables.ts";
import type { RunSummary } from "../src/run/run_list.ts";
import { combinations, nameOf, sweep as sweepRuns } from "../src/run/sweep.ts";
import {
  cacheFlag,
  type CacheFlags,
  type Common,
  namedCache,
  noInputs,
  positive,
  type RawFlags,
  rawOptions,
  spooled,
  widthOfTerminal,
  withRaw,
  withUnknown,
} from "./common_options.ts";
import { Flag } from "./flag.ts";
import { eventLine, expectOneProcess, run } from "./run.ts";
import { type ConfigFlags, gridOf, presetFlag, trainLayer, withGrid } from "./train_options.ts";

type SweepFlags = ConfigFlags & Common & RawFlags & CacheFlags & {
  out: string;
  jobs: number;
  report?: string;
  preset: Preset;
};

/** hotset sweep */
export function sweep(program: Command): void {
  withUnknown(withRaw(withGrid(program.command("sweep").addOption(presetFlag()))))
    .description("Train a run for each combination of options, and compare them; the same command again continues.")
    .argument("[input...]", "a dataset, or raw files in chronological order; - is standard input")
    .requiredOption("--out <dir>", "directory of the runs")
    .addOption(cacheFlag("that of the runs"))
    .addOption(
      new Flag("--jobs <n>", "runs that train at a time, each on its share of the cores, with its own memory")
        .argParser(positive).default(1),
    )
    .option("--report <file>", "HTML report to write: options, metrics and learning curves of all runs")
    .addHelpText(
      "after",
      "\nOptions of training take several values: 0.01,0.02 or, of whole numbers, 1..3.\n" +
        "\nExample: hotset sweep clicks.csv --learning-rate 0.01,0.02 --seed 1..3 --out sweep",
    )
    .action((given: string[], flags: SweepFlags) =>
      run(flags, async (report, atEnd, interrupt) => {
        expectOneProcess();
        if (given.length === 0) throw noInputs(flags, "Cannot sweep: name a dataset or raw files");
        const inputs = await spooled(given, atEnd);
        const grid = gridOf(flags);
        const varied = Object.keys(grid).filter((key) => grid[key].length > 1);
        const runs = combinations(grid).map((values) => ({
          name: nameOf(Object.fromEntries(varied.map((key) => [key, values[key]]))),
          config: configByData(flags.preset, trainLayer(values)),
        }));
        const raw = await rawOptions(inputs, flags, interrupt, report, true);
        const options = {
          report,
          cache: namedCache(flags),
          jobs: flags.jobs,
          signal: () => interrupt.listen(false),
        };
        const summaries = await sweepRuns(inputs, raw, runs, flags.out, options);
        if (flags.report !== undefined) {
          const { writeComparison } = await import("../src/report/html/comparison_report.ts");
          await writeComparison(summaries, flags.report);
        }
        const best = ({ state, validation }: RunSummary) =>
          state === "diverged" || validation === null || Number.isNaN(validation.auc) ? -1 : validation.auc;
        summaries.sort((a, b) => best(b) - best(a));
        if (flags.json) { for (const summary of summaries) console.log(eventLine({ event: "run", ...summary })); }
        else console.log(runList(summaries, widthOfTerminal()));
        const diverged = summaries.filter(({ state }) => state === "diverged").map(({ run }) => run);
        if (diverged.length > 0) {
          throw new HotsetError(
            `Cannot complete the sweep in ${flags.out}: ${diverged.length} of ${summaries.length} runs diverged ` +
              `(${diverged.join(", ")}); leave out those values, or remove a run to train it again`,
            { code: "diverged" },
          );
        }
      })
    );
}
