import type { Command } from "commander";
import { inferSchema } from "../src/dataset/infer.ts";
import { UsageError } from "../src/errors.ts";
import { prepareTo } from "../src/run/stages.ts";
import { bytes } from "../src/format.ts";
import { readBytes } from "../src/config/option_types.ts";
import { DEFAULT_MEMORY_BYTES } from "../src/dataset/prepare_job.ts";
import { addGroup, Flag } from "./flag.ts";
import {
  type Common,
  folderOf,
  type GroupFlags,
  noInputs,
  RAW,
  raw,
  type RawFlags,
  rawOptions,
  reading,
  withGroup,
  withRaw,
  withUnknown,
} from "./common_options.ts";
import { runAsGroup } from "./run.ts";

interface PrepareFlags extends RawFlags, GroupFlags, Omit<Common, keyof GroupFlags> {
  memory: number;
  out?: string;
  infer?: boolean;
}

/** Limits for reading raw files; `train` has a budget of the whole process. */
const memory = new Flag("--memory <bytes>", "memory that reading raw files may use").argParser(reading(readBytes))
  .default(DEFAULT_MEMORY_BYTES, bytes(DEFAULT_MEMORY_BYTES).replace(" ", "")).unless(raw);

/** hotset prepare */
export function prepare(program: Command): void {
  withGroup(addGroup(withUnknown(withRaw(program.command("prepare"))), RAW, [memory]))
    .description("Turn raw logs into a dataset.")
    .argument("[input...]", "files or patterns in chronological order; may be gzip, zstd or Parquet")
    .addOption(
      new Flag("--out <dir>", "directory of the dataset").unless((line) =>
        line.given.has("--infer") ? raw(line) : undefined
      ),
    )
    .option("--infer", "only print a proposed schema for the input, to be edited")
    .addHelpText("after", "\nExample: hotset prepare 'day_*.tsv.gz' --min-frequency 2 --out criteo")
    .action((inputs: string[], flags: PrepareFlags) =>
      runAsGroup(flags, [folderOf(flags)], async (report, group, interrupt) => {
        const { out, infer, json } = flags;
        if (inputs.length === 0) return group.agree(noInputs(flags, "Cannot prepare: name raw files"));
        if (infer) {
          const onProgress = (fraction: number) => report({ event: "stage", stage: "infer", fraction });
          if (inputs.length > 1) report({ event: "note", text: `The schema was inferred from ${inputs[0]} alone` });
          const onNote = (text: string) => report({ event: "note", text });
          if (group.rank > 0) return;
          console.log(JSON.stringify(await inferSchema(inputs[0], onProgress, onNote, flags.label), null, 2));
          return;
        }
        if (out === undefined) return group.agree(new UsageError("Cannot prepare: name the dataset with --out"));
        const raw = await rawOptions(inputs, flags, interrupt, report, group.size === 1);
        await prepareTo({ ...raw, memoryBytes: flags.memory, inputs, out, group }, report);
        if (!json && group.rank === 0) console.log(out);
      })
    );
}
