import type { Command } from "commander";
import { Dataset } from "../src/dataset/dataset.ts";
import { planDataset, planPublished, thisMachine } from "../src/plan/plan_training.ts";
import { publishedData } from "../src/plan/published.ts";
import { planText } from "../src/report/tables.ts";
import { type Preset, resolveConfig } from "../src/config/config.ts";
import type { Common } from "./options.ts";
import { run } from "./run.ts";
import { type ConfigFlags, presetFlag, trainLayer, withTraining } from "./train_options.ts";

/** hotset plan */
export function plan(program: Command): void {
  withTraining(program.command("plan").addOption(presetFlag()))
    .description("What training would need and a budget would cover, without training.")
    .argument("[dataset]", "directory made by prepare (default: the published data of the preset)")
    .addHelpText("after", "\nExample: hotset plan --preset terabyte --hot-memory 1GiB --optimizer rwsadagrad")
    .action((directory: string | undefined, flags: ConfigFlags & Common & { preset: Preset }) =>
      run(flags, () => {
        const config = resolveConfig(flags.preset, trainLayer(flags));
        const machine = thisMachine();
        const planned = directory === undefined
          ? planPublished(publishedData(flags.preset), config, machine)
          : planDataset(Dataset.open(directory, "lengths"), config, machine);
        console.log(flags.json ? JSON.stringify(planned) : planText(planned));
      })
    );
}
