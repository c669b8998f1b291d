import { type Command, Option } from "commander";
import { isArtifact } from "../src/storage/artifact.ts";
import { generateDataset, writeCriteoLog } from "../src/dataset/generate.ts";
import { generateSessions } from "../src/dataset/generate_sessions.ts";
import type { Split } from "../src/dataset/dataset.ts";
import { splitSizes } from "../src/dataset/splits.ts";
import { type Shape, SHAPES } from "../src/dataset/published.ts";
import { UsageError } from "../src/errors.ts";
import { type Common, positive, real, share } from "./common_options.ts";
import { eventLine, run } from "./run.ts";
import { type ConfigFlags, configOf, withTraining } from "./train_options.ts";

interface GenerateFlags extends Common, ConfigFlags {
  preset: Shape | "taobao";
  samples: number;
  out: string;
  raw?: boolean;
  scale: number;
  drift: number;
  validationFraction?: number;
  testFraction?: number;
  validationUsers?: "train" | "other";
}

/** hotset generate */
export function generate(program: Command): void {
  withTraining(program.command("generate"))
    .description("Generate a dataset in the shape of a published one, with labels drawn from a random model.")
    .addOption(new Option("--preset <name>", "shape of the tables").choices([...SHAPES, "taobao"]).default("kaggle"))
    .requiredOption("--samples <n>", "samples of all splits", positive)
    .requiredOption("--out <dir>", "directory of the dataset, or with --raw a new file")
    .option("--raw", "write a raw log in the Criteo format instead")
    .option("--scale <factor>", "divide the sizes of tables by this factor", real, 1)
    .option("--drift <share>", "share of the popular rows that are replaced over time", share, 0)
    .option("--validation-fraction <share>", "share of the validation split (default: 0.05)", share)
    .option("--test-fraction <share>", "share of the test split (default: 0.1)", share)
    .addOption(
      new Option(
        "--validation-users <which>",
        "with --preset taobao, users of the validation split: those of the train split, as published (default), or other",
      ).choices(["train", "other"]),
    )
    .addHelpText("after", "\nExample: hotset generate --preset kaggle --samples 1000000 --out clicks")
    .action((flags: GenerateFlags) =>
      run(flags, async (report) => {
        const { preset: shape, samples, out, raw, scale, drift } = flags;
        const { seed } = configOf(flags);
        const fractions = fractionsOf(flags);
        const onProgress = (fraction: number) => report({ event: "stage", stage: "generate", fraction });
        if (isArtifact(out)) report({ event: "note", text: `The files in ${out} will be replaced` });
        if (shape === "taobao") {
          await sessionsOf(flags, fractions, seed, onProgress);
          console.log(flags.json ? eventLine({ event: "generated", out, samples, bestAuc: {} }) : out);
          return;
        }
        if (flags.validationUsers !== undefined) {
          throw new UsageError(`Cannot use --validation-users with --preset ${shape}: only taobao has users`);
        }
        const options = { shape, samples, scale, drift, seed, fractions, onProgress };
        const bestAuc = raw
          ? await writeCriteoLog(out, options)
          : (await generateDataset(out, options)).body.generated!.bestAuc;
        console.log(flags.json ? eventLine({ event: "generated", out, samples, bestAuc }) : out);
      })
    );
}

/** Shares of the splits. */
interface Fractions {
  readonly validation: number;
  readonly test: number;
}

function fractionsOf({ raw, validationFraction, testFraction }: GenerateFlags): Fractions {
  const given = { "--validation-fraction": validationFraction, "--test-fraction": testFraction };
  for (const [flag, fraction] of Object.entries(given)) {
    if (!raw || fraction === undefined) continue;
    throw new UsageError(`Cannot use ${flag} with --raw: a raw log has no splits; train and prepare divide it`);
  }
  return { validation: validationFraction ?? 0.05, test: testFraction ?? 0.1 };
}

/** Sessions of generated users, for TBSM. */
async function sessionsOf(
  flags: GenerateFlags,
  fractions: Fractions,
  seed: number,
  onProgress: (fraction: number) => void,
): Promise<void> {
  const { out, samples: total, scale, drift, raw, validationUsers = "train" } = flags;
  if (raw) throw new UsageError("Cannot write a raw log in the shape of taobao, only a dataset");
  if (drift > 0) throw new UsageError("Cannot use --drift with --preset taobao: its items keep their popularity");
  const sizes = splitSizes(total, fractions);
  const samples = Object.fromEntries(sizes.map(({ split, samples }) => [split, samples])) as Record<Split, number>;
  await generateSessions(out, { seed, scale, samples, validationUsers, onProgress });
}
