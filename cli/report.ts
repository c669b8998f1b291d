import type { Command } from "commander";
import { type Common, port, untilAborted } from "./common_options.ts";
import { Flag } from "./flag.ts";
import { eventLine, run } from "./run.ts";

interface ReportFlags extends Common {
  out?: string;
  watch?: boolean;
  port: number;
  data?: string;
}

/** hotset report */
export function report(program: Command): void {
  program.command("report")
    .description("Write the HTML report of a run, also of one that trains now; or serve it as a live page.")
    .argument("<run>", "directory made by train")
    .addOption(
      new Flag("--out <file>", "HTML file to write (default: the run's name with .html, beside the run)").unless((
        { given },
      ) => given.has("--watch") ? "with --watch: the page is served; leave out one of them" : undefined),
    )
    .option("--watch", "serve the report to browsers on this machine, and change it while the run trains")
    .addOption(
      new Flag("--port <n>", "port of 127.0.0.1; 0 for any free port").argParser(port).default(6007).unless((
        { given },
      ) => given.has("--watch") ? undefined : "without --watch: nothing is served; leave it out"),
    )
    .addOption(
      new Flag("--data <dataset>", "the run's dataset, if it is not where it was, relative to the run").unless((
        { given },
      ) => given.has("--watch") ? "with --watch: the live page needs no dataset; leave it out" : undefined),
    )
    .addHelpText("after", "\nExample: hotset report hotset/run-1 --watch")
    .action((directory: string, flags: ReportFlags) =>
      run(flags, async (_report, _, { signal }) => {
        if (flags.watch) {
          const { LiveReport } = await import("../src/report/html/live_report.ts");
          await using live = new LiveReport(directory, flags.port);
          const { url } = live;
          console.log(
            flags.json ? eventLine({ event: "serving", url, run: directory }) : `Report of ${directory}: ${url}`,
          );
          return await untilAborted(signal);
        }
        const { writeRunReport } = await import("../src/report/html/run_report.ts");
        const file = flags.out ?? `${directory.replace(/\/+$/, "")}.html`;
        await writeRunReport(directory, file, flags.data);
        console.log(flags.json ? eventLine({ event: "reported", file, run: directory }) : file);
      })
    );
}
