/** Every option of every command, in every mode and on every device, has an effect or is refused. */
import assert from "node:assert/strict";
import { program } from "../../cli/main.ts";
import { expectEffect } from "../../cli/effects.ts";
import { UsageError } from "../../src/errors.ts";
import type { CommandLine } from "../../src/config/option_types.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const commandOf = (name: string) => program.commands.find((each) => each.name() === name)!;
const optionsOf = (command: string) => commandOf(command).options.map(({ long }) => long!);
const TRAIN = optionsOf("train");
const MODES = ["cpu", "hybrid", "gpu", "cached", "fae"];
const DEVICES = ["auto", "cpu", "cuda", "emulated"];

/** A command line whose other options have their defaults. */
function line(command: string, given: readonly string[], values: CommandLine["values"] = {}, inputs = ["log.tsv"]) {
  return { command, inputs, given: new Set(given), values: { collective: "shared", ...values } };
}

/** The error of a command line; undefined if all its options act. */
function refusal(of: CommandLine): string | undefined {
  try {
    expectEffect(of, commandOf(of.command).options);
    return undefined;
  } catch (error) {
    assert(error instanceof UsageError, String(error));
    return error.message;
  }
}

/** Values that are not the same as no option. */
const CHOSEN = { blas: "ort", activations: "cudnn", out: "run" };
/** Options that only act with --negatives. */
const WITH_NEGATIVES = ["--item", "--negative-power", "--negative-seed"];

Deno.test("a refusal names the option and a way out; what a mode or device leaves out is refused in it and nowhere else", () => {
  const hot = ["--hot-memory", "--sample-rate", "--scheduler-rate", "--first-turn", "--turns"];
  for (const mode of MODES) {
    for (const device of DEVICES) {
      for (const precision of ["fp32", "tf32", "bf16"]) {
        for (const option of TRAIN) {
          const message = refusal(line("train", [option], { mode, device, precision, ...CHOSEN }, []));
          const cpu = mode === "cpu" || device === "cpu";
          const refused =
            (hot.includes(option) && mode !== "fae" && !(option === "--hot-memory" && mode === "cached")) ||
            (option === "--precision" && precision === "tf32" && cpu) ||
            (option === "--activations" && (cpu || device === "auto")) ||
            (option === "--blas" && !cpu) ||
            (option === "--memory" && mode !== "cpu" && mode !== "cached") ||
            [
              "--scaling",
              "--data",
              "--expire",
              "--dcn-num-layers",
              "--dcn-low-rank-dim",
              "--lr-decay-start-step",
              "--lr-decay",
              ...WITH_NEGATIVES,
            ].includes(option);
          assert.equal(message !== undefined, refused, `${option}, mode ${mode}, device ${device}: ${message}`);
          if (message === undefined) continue;
          assert.match(message, new RegExp(`^Cannot use ${option} with`));
          assert.match(message, /choose --|leave it out|set --/, "a way out");
        }
      }
    }
  }
});

Deno.test("what a refusal advises is accepted", () => {
  let followed = 0;
  for (const mode of MODES) {
    for (const device of DEVICES) {
      for (const option of TRAIN) {
        const values = { mode, device, precision: "tf32", out: "run" };
        const message = refusal(line("train", [option], values, []));
        const advice = message?.matchAll(/--(mode|device) (\w+)(?=[^:]*$)/g);
        if (advice === undefined) continue;
        const advised = Object.fromEntries([...advice].map(([, name, value]) => [name, value]));
        if (Object.keys(advised).length === 0) continue;
        assert.equal(refusal(line("train", [option], { ...values, ...advised }, [])), undefined, `${message}`);
        followed++;
      }
    }
  }
  assert(followed > 20, `${followed} times`);
});

Deno.test("options act or not by the model of the preset", () => {
  for (
    const [preset, model, acts] of [["mlperf-dcnv2", undefined, true], ["mlperf-dcnv2", "dlrm", false], [
      "mlperf",
      undefined,
      false,
    ]] as const
  ) {
    const message = refusal(
      line("train", ["--dcn-low-rank-dim"], { preset, ...(model && { model }), dcnLowRankDim: 16 }),
    );
    assert.equal(message === undefined, acts, `${preset} with ${model}: ${message}`);
  }
  // The model is named by what was typed.
  const why = ": matrix factorisation has no MLP";
  assert.equal(
    refusal(line("train", ["--preset", "--dropout"], { preset: "pairs", dropout: 0.1 })),
    `Cannot use --dropout with --model mf, which --preset pairs chooses unless there is a --model${why}`,
  );
  assert.equal(
    refusal(line("train", ["--preset", "--model", "--dropout"], { preset: "pairs", model: "mf", dropout: 0.1 })),
    `Cannot use --dropout with --model mf${why}`,
  );
});

Deno.test("a run that goes on takes only what changes nothing in it", () => {
  const acting = TRAIN.filter((option) =>
    refusal(line("train", ["--resume", option], { out: "run", ranks: 2 }, [])) === undefined
  );
  assert.deepEqual(acting.sort(), [
    ...[
      "--blas",
      "--cache",
      "--collective",
      "--data",
      "--json",
      "--memory",
      "--out",
      "--quiet",
      "--ranks",
      "--report",
      "--resume",
      "--tensorboard",
      "--verbose",
    ],
  ]);
  assert.equal(refusal(line("train", ["--resume"], {}, [])), "Cannot resume: name the run with --out");
});

Deno.test("options that contradict each other are refused, and act without the other", () => {
  const cases: [option: string, other: string, values: CommandLine["values"], reason: RegExp][] = [
    ["--keep", "--no-save", { save: false }, /^Cannot use --keep with --no-save: no checkpoint is written/],
    ["--checkpoint-steps", "--no-save", { save: false }, /with --no-save/],
    ["--checkpoint-minutes", "--no-save", { save: false }, /with --no-save/],
    ["--keep", "--checkpoint-minutes", { checkpointMinutes: 0 }, /set --checkpoint-steps or --checkpoint-minutes$/],
    [
      "--patience",
      "--epochs",
      { patience: 2, epochs: 2 },
      /with 2 evaluations, one per epoch: set --test-freq or more/,
    ],
    ["--lr-decay-start-step", "--lr-num-decay-steps", { lrNumDecaySteps: 0 }, /set --lr-num-decay-steps$/],
    ["--row-init", "--from", {}, /^Cannot use --row-init with --from: .*; leave it out$/],
    ["--memory", "--mode", { memory: { share: 0.1 }, mode: "fae" }, /with --mode fae: .*choose --mode cpu, or/],
    ["--memory", "--collective", { memory: { share: 0.1 }, collective: "nccl" }, /with --collective nccl: only CPUs/],
    ["--ranks", "--collective", { collective: "nccl" }, /with --collective nccl: mpirun sets the number of ranks$/],
    ["--precision", "--collective", { collective: "mpi", precision: "tf32" }, /choose --collective nccl$/],
    ["--activations", "--collective", { collective: "mpi", activations: "ptx" }, /choose --collective nccl$/],
  ];
  for (const [option, other, values, reason] of cases) {
    assert.match(refusal(line("train", [option, other], values)) ?? "", reason);
  }
  const acting: [option: string, values: CommandLine["values"]][] = [
    ["--memory", { memory: { bytes: 1 } }],
    ["--memory", { memory: { share: 0.1 }, ranks: 2 }],
    ["--memory", { memory: { share: 0.1 }, collective: "mpi" }],
    ["--keep", { checkpointSteps: 10, checkpointMinutes: 0 }],
    ["--patience", { patience: 2, epochs: 3 }],
    ["--patience", { patience: 2, epochs: 1, testFreq: 100 }],
    ["--lr-decay-start-step", { lrNumDecaySteps: 5 }],
    ["--scaling", { collective: "mpi" }],
    ["--activations", { collective: "nccl", activations: "ptx" }],
    ["--activations", { device: "cpu", activations: "auto" }],
    ["--precision", { device: "auto", precision: "tf32" }],
    ["--precision", { device: "cpu", precision: "bf16" }],
    ["--precision", { collective: "mpi", precision: "bf16" }],
    ["--blas", { device: "auto", blas: "auto" }],
    ["--blas", { device: "auto", blas: "ort", collective: "mpi" }],
  ];
  for (const [option, values] of acting) assert.equal(refusal(line("train", [option], values)), undefined);
  for (
    const [values, reason] of [
      [{ collective: "nccl", device: "cpu" }, "nccl with --device cpu"],
      [{ collective: "nccl", mode: "cpu" }, "nccl with --mode cpu"],
      [{ collective: "mpi", device: "emulated" }, "mpi with --device emulated"],
      [{ collective: "mpi", mode: "hybrid" }, "mpi with --mode hybrid"],
    ] as const
  ) {
    assert.equal(
      refusal(line("train", ["--collective"], values)),
      `Cannot use --collective ${reason}: mpi is for ranks on the CPU, nccl for ranks on GPUs`,
    );
  }
});

Deno.test("what says how raw files are read is refused where none are", () => {
  using directory = new TemporaryDirectory();
  const data = directory.path;
  Deno.writeTextFileSync(directory.join("manifest.json"), "{}");
  const prepare = optionsOf("prepare");
  const common = ["--json", "--quiet", "--verbose", "--out", "--collective", "--infer"];
  for (const option of prepare.filter((each) => !common.includes(each))) {
    const inferring = refusal(line("prepare", ["--infer", option]));
    if (option === "--label") assert.equal(inferring, undefined, "it says which column the schema is to name");
    else assert.match(inferring ?? "", /with --infer: .*leave out one of them$/);
    if (option === "--memory") continue; // of train it bounds the whole process, whatever it reads
    if (WITH_NEGATIVES.includes(option)) continue;
    assert.equal(refusal(line("train", [option])), undefined);
    const onDataset = refusal(line("train", [option], {}, [data]));
    if (option === "--max-unknown") assert.equal(onDataset, undefined, "a limit for data that is prepared, too");
    else assert.match(onDataset ?? "", /with the dataset .*: it is already prepared$/);
    assert.match(refusal(line("train", ["--demo", option], {}, [])) ?? "", /with --demo: .*leave out one of them$/);
  }
  assert.match(refusal(line("prepare", ["--infer", "--out"])) ?? "", /with --infer/);
  assert.match(refusal(line("train", ["--demo"])) ?? "", /^Cannot use log.tsv with --demo/);
});

Deno.test("only commands that draw at random have a seed, and a plan from published figures draws nothing", () => {
  const seeded = program.commands.map((command) => command.name()).filter((name) => optionsOf(name).includes("--seed"));
  assert.deepEqual(seeded.sort(), ["generate", "import", "layout", "plan", "profile", "sweep", "train"]);
  assert.match(refusal(line("plan", ["--seed"], {}, [])) ?? "", /^Cannot use --seed without a dataset/);
  assert.equal(refusal(line("plan", ["--seed"])), undefined);
});
