import assert from "node:assert/strict";
import { slowTest, someOf } from "../support/series.ts";
import { Workplace } from "./support.ts";

/** A command line, what it must say and exit with. */
const CASES: [[string, ...string[]], code: 1 | 2, message: string][] = [
  [["train", "--nope"], 2, "unknown option '--nope' (Did you mean --mode?)"],
  [["tran"], 2, "unknown command 'tran' (Did you mean train?)"],
  [["train"], 2, "Cannot train: name a dataset or raw files, or use --demo"],
  [["prepare"], 2, "Cannot prepare: name raw files"],
  [
    ["prepare", "--out", "d", "--test", "a.csv", "b.csv"],
    2,
    "Cannot prepare: name raw files; --test takes all files that follow it (a.csv, b.csv): name the others before it",
  ],
  [
    ["train", "x", "--epochs", "0"],
    2,
    "option '--epochs <n>' argument '0' is invalid. Expected a whole number from 1.",
  ],
  [
    ["train", "x", "--hot-memory", "much"],
    2,
    "option '--hot-memory <bytes>' argument 'much' is invalid. Expected bytes, as in 512MiB.",
  ],
  [
    ["train", "x", "--scheduler-rate", "0.5"],
    2,
    "option '--scheduler-rate <percent>' argument '0.5' is invalid. Expected a number from 1 to 100.",
  ],
  [
    ["layout", "x", "--shuffle", "none"],
    2,
    "Cannot use --shuffle none with hot batches: leave it out, or choose --hot-memory 0",
  ],
  [
    ["train", "x", "--mode", "fae", "--shuffle", "none"],
    2,
    "Cannot use --shuffle none with --mode fae: only modes cpu, gpu and cached keep the order of the log; choose one of them, or " +
    "--shuffle batches",
  ],
  [
    ["train", "x", "--optimizer", "lion"],
    2,
    "option '--optimizer <name>' argument 'lion' is invalid. Allowed choices are sgd, adagrad, rwsadagrad, adam, adamw.",
  ],
  [
    ["train", "x", "--ranks", "257"],
    2,
    "option '--ranks <n>' argument '257' is invalid. Expected a whole number from 1 to 256.",
  ],
  [
    ["serve", "x", "--max-body", "0"],
    2,
    "option '--max-body <bytes>' argument '0' is invalid. Expected at least 2 bytes, as in 4MiB.",
  ],
  [
    ["train", "x", "--mode", "gpu", "--device", "cpu"],
    2,
    "Cannot train in mode gpu on the CPU: choose --mode fae or cpu",
  ],
  [
    ["train", "--demo", "--mode", "cpu", "--device", "emulated"],
    2,
    "Cannot train in mode cpu on emulated: choose --mode cached, fae, hybrid or gpu",
  ],
  [
    ["train", "x", "--collective", "nccl", "--device", "cpu"],
    2,
    "Cannot use --collective nccl with --device cpu: mpi is for ranks on the CPU, nccl for ranks on GPUs",
  ],
  [
    ["train", "x", "--collective", "mpi", "--device", "emulated"],
    2,
    "Cannot use --collective mpi with --device emulated: mpi is for ranks on the CPU, nccl for ranks on GPUs",
  ],
  [
    ["train", "x", "--collective", "nccl", "--ranks", "2"],
    2,
    "Cannot use --ranks with --collective nccl: mpirun sets the number of ranks",
  ],
  [
    ["train", "x", "--arch-mlp-bot", "13-64-32", "--arch-sparse-feature-size", "16"],
    1,
    "Cannot build the model: the bottom MLP ends in 32 but embedding rows have 16 values; make --arch-mlp-bot " +
    "end in 16 or set --arch-sparse-feature-size 32",
  ],
  [
    ["generate", "--raw", "--samples", "9", "--out", "x.tsv.gz"],
    2,
    "Cannot write x.tsv.gz: raw logs are written as plain text",
  ],
  [
    ["generate", "--raw", "--samples", "9", "--out", "x.tsv", "--test-fraction", "0.2"],
    2,
    "Cannot use --test-fraction with --raw: a raw log has no splits; train and prepare divide it",
  ],
  [["clean", "--cache", "nowhere"], 1, "Cannot look for runs in nowhere: no such directory"],
  [["train", "--resume"], 2, "Cannot resume: name the run with --out"],
  [
    ["train", "--resume", "--out", "run", "--epochs", "3"],
    2,
    "Cannot use --epochs with --resume: a resumed run keeps its options; start a new run from its model with --from run",
  ],
  [
    ["train", "clicks", "--resume", "--out", "run"],
    2,
    "Cannot use clicks with --resume: a resumed run keeps its options; start a new run from its model with --from run",
  ],
  [
    ["train", "x", "--demo"],
    2,
    "Cannot use x with --demo: it trains on generated data; leave out one of them",
  ],
  [
    ["train", "--demo", "--min-frequency", "2"],
    2,
    "Cannot use --min-frequency with --demo: it trains on generated data; leave out one of them",
  ],
  [
    ["train", "--demo", "--schema", "x.json"],
    2,
    "Cannot use --schema with --demo: it trains on generated data; leave out one of them",
  ],
  [
    ["train", "x", "--inference-only"],
    2,
    "Cannot evaluate with --inference-only: name the run to score with --load-model RUN",
  ],
  [["train", "--load-model"], 2, "Cannot use --load-model: it needs a value"],
  [["train", "toString"], 1, "Cannot read toString: no such file"],
  [["train", "--raw-data-file", "day"], 1, "Cannot read day: no such file"],
  [["train", "--resume", "--out", "nothing"], 1, "Cannot open run nothing: no such directory"],
  [["evaluate", "nothing"], 1, "Cannot open run nothing: no such directory"],
  [["predict", "nothing", "x"], 1, "Cannot open run nothing: no such directory"],
  [["profile", "nothing"], 1, "Cannot open dataset nothing: no such directory"],
  [["train", "--config", "nothing"], 2, "Cannot read the configuration nothing: no such file"],
  [["train", "--config"], 2, "Cannot read the configuration: --config needs a file"],
];

for (const [args, code, message] of someOf(CASES, 12)) {
  Deno.test(`bad usage: ${args.join(" ")}`, async () => {
    using place = new Workplace();
    assert.equal(await place.fail(code, ...args), message);
  });
}

Deno.test("bad usage: configuration files that are not what they should be", async () => {
  using place = new Workplace();
  const fail = async (content: string) => {
    place.write("config.json", content);
    return (await place.fail(2, "train", "--config", "config.json")).replace(/^Cannot read the configuration /, "");
  };
  assert.match(await fail("{"), /^config.json: .*JSON/);
  assert.match(await fail("[1, 2]"), /^config.json: a value: .*expected record/);
  assert.match(await fail('{"epochs": null}'), /^config.json: epochs: /);
  assert.equal(await fail('{"out": ["a", "b"]}'), "config.json: out takes one value, not a list");
  assert.equal(
    await fail('{"item": ["a", "b"]}'),
    "Cannot use --item without --negatives: nothing is drawn; leave it out",
  );
  assert.equal(await fail('{"epoch": 2}'), 'config.json: unknown key "epoch"; did you mean "epochs"?');
  assert.equal(await fail('{"epochs": 0}'), "config.json: epochs cannot be 0: expected a whole number from 1");
});

slowTest("bad usage: what is there is not replaced by something else", async () => {
  using place = new Workplace();
  await place.succeed("generate", "--samples", "300", "--scale", "1000", "--out", "data");
  const there = "it contains a dataset; name another directory";
  assert.equal(await place.fail(1, "profile", "data", "--out", "data"), `Cannot write profile data: ${there}`);
  await place.succeed("profile", "data"); // or layout would leave it
  assert.equal(await place.fail(1, "layout", "data", "--out", "data"), `Cannot write layout data: ${there}`);
  assert.equal(
    await place.fail(1, "train", "data", "--out", "data"),
    "Cannot start a run in data: the directory holds something else; choose another --out",
  );
  assert.equal(
    await place.fail(2, "train", "data", "--out", "run", "--min-frequency", "2"),
    "Cannot use --min-frequency with the dataset data: it is already prepared",
  );
  assert.equal(
    await place.fail(1, "evaluate", "data"),
    "Cannot open run data: it is a dataset, profile, layout or checkpoint, not a run",
  );
});

Deno.test("bad usage: options that the model for pairs lacks are those of the default one", async () => {
  using place = new Workplace();
  assert.match(await place.fail(1, "train", "missing.tsv", "--dropout", "0.1"), /missing\.tsv/);
});

Deno.test("bad usage: processes that mpirun started and that do not know of each other", async () => {
  using place = new Workplace();
  for (const variable of ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"]) {
    const { code, stderr } = await place.runWith({ [variable]: "2" }, "train", "x", "--out", "run");
    assert.equal(code, 2);
    assert.equal(
      stderr,
      "error: Cannot run as one of 2 processes that would repeat the same work: add --collective mpi, or start one\n",
    );
  }
});
