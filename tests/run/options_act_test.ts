/** Every key of a configuration changes a run where it is permitted, and is refused elsewhere. */
import assert from "node:assert/strict";
import { program } from "../../cli/main.ts";
import { trainLayer } from "../../cli/train_options.ts";
import { slowTest } from "../support/series.ts";
import { GIVEN, tryOptions } from "../support/try_options.ts";

slowTest(
  "in mode cpu an option changes what a run shows, unless the table refuses it",
  () => tryOptions("cpu", "cpu", GIVEN),
);

slowTest(
  "in mode fae an option changes what a run shows, unless the table refuses it",
  () => tryOptions("fae", "cpu", GIVEN),
);

Deno.test("every option of train that says how to train reaches the configuration", () => {
  /** What the command line itself reads, and what says how raw files are read. */
  const elsewhere = [
    ...[
      "--demo",
      "--out",
      "--report",
      "--tensorboard",
      "--from",
      "--resume",
      "--data",
      "--config",
      "--preset",
      "--collective",
      "--scaling",
      "--cache",
      "--expire",
      "--best-of",
    ],
    ...["--json", "--quiet", "--verbose"],
    ...program.commands.find((command) => command.name() === "prepare")!.options.map(({ long }) => long!).filter((
      long,
    ) => long !== "--memory"),
  ];
  const options = program.commands.find((command) => command.name() === "train")!.options;
  const training = options.filter(({ long }) => !elsewhere.includes(long!));
  const covered = [
    ...GIVEN.map(({ option }) => option),
    "--mode",
    "--device",
    "--blas",
    "--precision",
    "--activations",
    "--memory", // changes where rows lie and nothing else: memory_test.ts
  ];
  assert.deepEqual(training.map(({ long }) => long).sort(), covered.sort(), "each is tried above or on a device");
  for (const option of training) {
    const value = option.attributeName().startsWith("archMlp") ? [3, 4] : "a value";
    const layer = trainLayer({ [option.attributeName()]: value } as never);
    assert.ok(Object.keys(layer).length > 0, `${option.long} is dropped`);
  }
});
