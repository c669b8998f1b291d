import { type Command, Option } from "commander";
import { isArtifact } from "../src/storage/artifact.ts";
import { generateDataset, writeCriteoLog } from "../src/dataset/generate.ts";
import { type Shape, SHAPES } from "../src/dataset/published.ts";
import { type Common, positive, real, share } from "./common_options.ts";
import { eventLine, run } from "./run.ts";
import { type ConfigFlags, configOf, withTraining } from "./train_options.ts";

interface GenerateFlags extends Common, ConfigFlags {
  preset: Shape;
  samples: number;
  out: string;
  raw?: boolean;
  scale: number;
  drift: number;
  validationFraction: number;
  testFraction: number;
}

/** hotset generate */
export function generate(program: Command): void {
  withTraining(program.command("generate"))
    .description("Generate a dataset in the shape of a published one, with labels drawn from a random model.")
    .addOption(new Option("--preset <name>", "shape of the tables").choices(SHAPES).default("kaggle"))
    .requiredOption("--samples <n>", "samples of all splits", positive)
    .requiredOption("--out <dir>", "directory of the dataset, or with --raw a new file")
    .option("--raw", "write a raw log in the Criteo format instead")
    .option("--scale <factor>", "divide the sizes of tables by this factor", real, 1)
    .option("--drift <share>", "share of the popular rows that are replaced over time", share, 0)
    .option("--validation-fraction <share>", "share of the validation split", share, 0.05)
    .option("--test-fraction <share>", "share of the test split", share, 0.1)
    .addHelpText("after", "\nExample: hotset generate --preset kaggle --samples 1000000 --out clicks")
    .action((flags: GenerateFlags) =>
      run(flags, (report) => {
        const { preset: shape, samples, out, raw, scale, drift } = flags;
        const { seed } = configOf(flags);
        const fractions = { validation: flags.validationFraction, test: flags.testFraction };
        const onProgress = (fraction: number) => report({ event: "stage", stage: "generate", fraction });
        const options = { shape, samples, scale, drift, seed, fractions, onProgress };
        if (isArtifact(out)) report({ event: "note", text: `The files in ${out} will be replaced` });
        const bestAuc = raw ? writeCriteoLog(out, options) : generateDataset(out, options).body.generated!.bestAuc;
        console.log(flags.json ? eventLine({ event: "generated", out, samples, bestAuc }) : out);
      })
    );
}
