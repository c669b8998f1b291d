import { relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import type { MpiWorld } from "../src/parallel/mpi_world.ts";
import { Interrupted } from "../src/errors.ts";
import { demoText, resultTable } from "../src/report/tables.ts";
import { wrapped } from "../src/format.ts";
import { ClaimedRun } from "../src/run/claimed_run.ts";
import { resolveConfig, type TrainConfig } from "../src/config/config.ts";
import { type ConfigByData, configByData } from "../src/config/config_by_data.ts";
import { demoConfig, runDemo } from "../src/run/demo.ts";
import type { Report, ResultEvent } from "../src/events/events.ts";
import { TensorBoardLog } from "../src/events/tensorboard.ts";
import type { Interrupt } from "./interrupt.ts";
import { trainBestOf } from "../src/run/best_seed.ts";
import { resumeRun, trainOn } from "../src/run/run.ts";
import { type Common, HOME, namedCache, noInputs, rawOptions, spooled, widthOfTerminal } from "./common_options.ts";
import { expectOneProcess, fail, inWorld, run } from "./run.ts";
import { type ConfigFlags, configOf, type TrainFlags, trainLayer, withAllOfTraining } from "./train_options.ts";

/** hotset train */
export function train(program: Command): void {
  withAllOfTraining(program.command("train"))
    .description("Train a model on a dataset or on raw logs; runs prepare, profile and layout first if needed.")
    .argument("[input...]", "a dataset, or raw files in chronological order; - is standard input")
    .addHelpText("after", "\nExample: hotset train day_0.gz day_1.gz --test day_2.gz --min-frequency 2 --out run")
    .action((inputs: string[], flags: TrainFlags & ConfigFlags) =>
      run(
        flags,
        async (report, atEnd, interrupt) => start(await spooled(inputs, atEnd), flags, { report, interrupt }, atEnd),
      )
    );
}

/** Receivers of events and of signals. */
interface Channels {
  readonly report: Report;
  readonly interrupt: Interrupt;
}

/** Trains here, or as one of the processes that mpirun started. */
async function start(
  inputs: string[],
  flags: TrainFlags & ConfigFlags,
  channels: Channels,
  atEnd: DisposableStack,
): Promise<void> {
  const { collective } = flags;
  if (collective === "shared") {
    expectOneProcess();
    return await trainHere(inputs, flags, channels);
  }
  if (collective === "nccl" && configOf(flags).device === "auto") flags = { ...flags, device: "cuda" };
  const { interrupt } = channels;
  await inWorld(
    flags,
    channels.report,
    atEnd,
    (report, world) => trainHere(inputs, flags, { report, interrupt }, world),
  );
}

async function trainHere(
  inputs: string[],
  flags: TrainFlags & ConfigFlags,
  { report, interrupt }: Channels,
  world?: MpiWorld,
): Promise<void> {
  const first = (world?.rank ?? 0) === 0;
  const layer = trainLayer(flags);
  using claim = flags.out === undefined && first ? new ClaimedRun(HOME) : undefined;
  const named = flags.out ?? claim?.out ?? "";
  const out = world === undefined ? named : world.broadcast(named);
  const signal = () => interrupt.listen(world !== undefined);
  using board = flags.tensorboard === undefined || !first ? undefined : new TensorBoardLog(flags.tensorboard);
  const options = {
    out,
    claimed: flags.out === undefined,
    cache: namedCache(flags),
    report: (event: Parameters<Report>[0]) => {
      report(event);
      board?.report(event);
    },
    from: flags.from,
    data: flags.data,
    signal,
    phases: flags.report !== undefined,
    world,
  };
  const results = (of: readonly ResultEvent[]) => first && print(of, flags);
  const ranks = flags.scaling === "weak" ? world?.size ?? 1 : 1;
  const scaled = (config: TrainConfig) => ({ ...config, batchSize: config.batchSize * ranks });
  const again = `${commandOf(world)} train --resume${world ? ` --collective ${flags.collective}` : ""} --out`;
  if (world !== undefined && layer.save) {
    report({ event: "note", text: `If a rank is lost, continue with: ${again} ${out}` });
  }
  try {
    if (flags.resume) {
      results([await resumeRun(options, layer)]);
    } else if (flags.demo) {
      const config = scaled(resolveConfig(flags.preset, demoConfig(layer, world === undefined), layer));
      const demo = await runDemo(config, options);
      results(demo.results);
      if (first && flags.report !== undefined) await writeReport(demo.results.at(-1)!.run, flags.report);
      if (first && !flags.json) console.log(`\n${wrapped(demoText(demo), widthOfTerminal() ?? Infinity)}`);
    } else {
      if (inputs.length === 0) throw noInputs(flags, "Cannot train: name a dataset or raw files, or use --demo");
      const guesses = world === undefined && flags.from === undefined;
      const raw = () => rawOptions(inputs, flags, interrupt, report, guesses);
      const byData = configByData(flags.preset, layer);
      // With weak scaling, an epoch has the batches of the samples of one rank.
      const config: ConfigByData = (data) =>
        scaled(byData(data && { ...data, trainSamples: (data.trainSamples ?? 0) / ranks }));
      results([
        flags.bestOf === undefined
          ? await trainOn(inputs, raw, config, options)
          : await trainBestOf(flags.bestOf, inputs, raw, config, options),
      ]);
    }
    if (first && flags.report !== undefined && !flags.demo) await writeReport(out, flags.report, flags.data);
  } catch (error) {
    if (!(error instanceof Interrupted)) {
      if (world !== undefined && error !== world.failure && layer.save) console.error(`Continue with: ${again} ${out}`);
      throw error;
    }
    const advice = error.run === undefined ? "" : `. Continue with: ${again} ${error.run}`;
    if (first) fail(new Interrupted(`${error.message}${advice}`), flags);
    process.exitCode = interrupt.exitCode;
  }
}

/** The command that starts this program from the working directory. */
function commandOf(world: MpiWorld | undefined): string {
  const path = fileURLToPath(new URL("../cli.ts", import.meta.url));
  const near = relative(Deno.cwd(), path);
  const command = `deno run -A ${near.startsWith("..") ? path : near}`;
  return world === undefined ? command : `mpirun -n ${world.size} ${command}`;
}

/** The library that draws takes 40 MB and a tenth of a second to load, so only a run with --report loads it. */
async function writeReport(run: string, file: string, data?: string): Promise<void> {
  const { writeRunReport } = await import("../src/report/html/run_report.ts");
  await writeRunReport(run, file, data);
}

function print(results: readonly ResultEvent[], { json }: Common): void {
  if (json) return;
  const runs = results.map((result) => result.run).join(", ");
  console.log(`${resultTable(results, widthOfTerminal())}\n\nRuns: ${runs}`);
}
