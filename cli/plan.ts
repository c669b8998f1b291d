import type { Command } from "commander";
import { Dataset } from "../src/dataset/dataset.ts";
import { planDataset, planPublished, thisMachine } from "../src/plan/plan_training.ts";
import { publishedData } from "../src/plan/published.ts";
import { gpuMachine, MACHINE_NAMES } from "../src/plan/machines.ts";
import { planText } from "../src/report/tables.ts";
import { expectBags, expectDenseFeatures, type Preset } from "../src/config/config.ts";
import { configByData } from "../src/config/config_by_data.ts";
import { speedHere } from "../src/doctor.ts";
import { configFor } from "../src/run/config_for.ts";
import type { Common } from "./common_options.ts";
import { run } from "./run.ts";
import { type ConfigFlags, presetFlag, trainLayer, withTraining } from "./train_options.ts";

/** hotset plan */
export function plan(program: Command): void {
  withTraining(program.command("plan").addOption(presetFlag()))
    .description("Estimate the memory of training and the coverage of a budget, without training.")
    .argument("[dataset]", "directory made by prepare (default: the published data of the preset)")
    .option(
      "--on <machine>",
      `also estimate the time of a step on ${MACHINE_NAMES.join(", ")} or the machine in a JSON file`,
    )
    .addHelpText("after", "\nExample: hotset plan --preset terabyte --hot-memory 1GiB --optimizer rwsadagrad")
    .action((directory: string | undefined, flags: ConfigFlags & Common & { preset: Preset; on?: string }) =>
      run(flags, async (report) => {
        const byData = configByData(flags.preset, trainLayer(flags));
        const on = flags.on === undefined ? undefined : gpuMachine(flags.on);
        const machine = thisMachine();
        const dataset = directory === undefined ? undefined : Dataset.open(directory, "lengths");
        const published = dataset === undefined ? publishedData(flags.preset) : undefined;
        const shape = dataset ?? { denseFeatures: published!.dense.length, tables: published!.tables.length };
        const config = configFor(byData, shape, report);
        const doing = `plan for ${directory ?? published!.source}`;
        expectDenseFeatures(config, shape.denseFeatures, doing);
        const bags = dataset !== undefined && dataset.body.bags && dataset.steps === 1;
        expectBags(config, bags, dataset?.weightedLookups ?? false, doing);
        const speed = await speedHere(config, shape);
        const planned = dataset === undefined
          ? planPublished(published!, config, machine, speed, on)
          : await planDataset(dataset, config, machine, speed, on);
        console.log(flags.json ? JSON.stringify(planned) : planText(planned));
      })
    );
}
