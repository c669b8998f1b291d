/**
 * Checks that a change does not change arithmetic: a dozen short runs write checkpoints with the same bits before and
 * after it.
 *
 *     deno task golden HEAD~3          the commit HEAD~3 against the working tree
 *     deno task golden HEAD~3 HEAD     two commits
 *
 * Both run on this machine, one after the other, with the same library and kernel of matrix products, because bits
 * depend on these. Every run is a command line that both commits must understand. Exit status 1 if any bits differ.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { inCheckout } from "./checkout.ts";

/** A log with bags, which the generator does not support. */
const BAG_SCHEMA = {
  columns: [
    { name: "label", kind: "label" },
    { name: "price", kind: "dense" },
    { name: "user", kind: "sparse" },
    { name: "tags", kind: "bag", separator: "|" },
  ],
};

function bagLog(): string {
  const lines = ["label,price,user,tags"];
  for (let i = 0; i < 1500; i++) {
    const tags = Array.from({ length: i * 7 % 4 }, (_, k) => `t${(i * 13 + k * k * 29) % 90}`);
    lines.push(`${i * i % 7 < 2 ? 1 : 0},${i * 37 % 101},u${(i * i + 3) % 211},${tags.join("|")}`);
  }
  return lines.join("\n");
}

const MODEL = "--arch-mlp-bot 13-24-8 --arch-mlp-top 20-1 --batch-size 64".split(" ");
const BAG_MODEL = "--arch-mlp-bot 1-24-8 --arch-mlp-top 20-1 --batch-size 64".split(" ");
const WASM = { HOTSET_OPENBLAS: "none", HOTSET_ONNXRUNTIME: "none" };
const HASWELL = { OPENBLAS_CORETYPE: "Haswell" };

interface GoldenRun {
  readonly flags: string;
  readonly bags?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  /** Program and arguments before deno, for several processes. */
  readonly launcher?: readonly string[];
}

const RUNS: Readonly<Record<string, GoldenRun>> = {
  "cpu, sgd, WASM": { flags: "--mode cpu --optimizer sgd --learning-rate .1 --ranks 1", env: WASM },
  "cpu, adagrad, 2 ranks": { flags: "--mode cpu --optimizer adagrad --learning-rate .02 --ranks 2", env: HASWELL },
  "cpu, rwsadagrad, cat": {
    flags: "--mode cpu --optimizer rwsadagrad --learning-rate .02 --ranks 1 --arch-interaction-op cat",
    env: HASWELL,
  },
  "fae, sgd, WASM, 2 ranks": { flags: "--mode fae --optimizer sgd --learning-rate .1 --ranks 2", env: WASM },
  "fae, adagrad, warm-up and decay": {
    flags: "--mode fae --optimizer adagrad --learning-rate .02 --ranks 1 --epochs 2 --lr-num-warmup-steps 10 " +
      "--lr-decay-start-step 40 --lr-num-decay-steps 30",
    env: HASWELL,
  },
  "fae, bags, rwsadagrad": {
    flags: "--mode fae --optimizer rwsadagrad --learning-rate .02 --ranks 2",
    bags: true,
    env: HASWELL,
  },
  "gpu, emulated, adagrad": { flags: "--mode gpu --device emulated --optimizer adagrad --learning-rate .02" },
  "hybrid, emulated, sgd, cudnn": {
    flags: "--mode hybrid --device emulated --optimizer sgd --learning-rate .1 --activations cudnn",
  },
  "fae, emulated, rwsadagrad, bags": {
    flags: "--mode fae --device emulated --optimizer rwsadagrad --learning-rate .02",
    bags: true,
  },
  "fae, 2 emulated GPUs": {
    flags: "--mode fae --device emulated --optimizer adagrad --learning-rate .02 --ranks 2 --arch-mlp-top 8-1",
  },
  "cpu, MPI, 2 ranks": {
    flags: "--mode fae --device cpu --optimizer adagrad --learning-rate .02 --collective mpi",
    env: { ...HASWELL, OMPI_ALLOW_RUN_AS_ROOT: "1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1" },
    launcher: ["mpirun", "--oversubscribe", "-n", "2"],
  },
  "cpu, resumed from another's model": {
    flags: "--mode cpu --optimizer sgd --learning-rate .05 --ranks 1 --from cpu-sgd-WASM",
    env: WASM,
  },
};

/** Prefix of the text that replaces the checksum of a failed run. */
const FAILED = "failed: ";

const folderOf = (name: string) => name.replaceAll(/[^A-Za-z0-9]+/g, "-");

/** Checksum of each run's last checkpoint (tables, dense parameters, optimizer state), or the reason for a failure. */
async function checksums(checkout: string, place: string): Promise<Map<string, string>> {
  const hotset = async (args: readonly string[], { env = {}, launcher = [] }: Partial<GoldenRun> = {}) => {
    const [program, ...words] = [
      ...launcher,
      Deno.execPath(),
      "run",
      "-A",
      "--no-check",
      `${checkout}/cli.ts`,
      ...args,
    ];
    const command = new Deno.Command(program, {
      args: words,
      cwd: place,
      env: { NO_COLOR: "1", ...env },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    });
    const { code, stderr } = await command.output();
    return code === 0 ? undefined : new TextDecoder().decode(stderr).trim().split("\n").at(-1);
  };
  const prepared = async (...args: string[]) => {
    const fault = await hotset(args);
    if (fault !== undefined) throw new Error(`${args.join(" ")}: ${fault}`);
  };
  Deno.writeTextFileSync(join(place, "bags.csv"), bagLog());
  Deno.writeTextFileSync(join(place, "schema.json"), JSON.stringify(BAG_SCHEMA));
  await prepared("generate", "--preset", "kaggle", "--samples", "6000", "--scale", "2000", "--out", "clicks");
  await prepared("prepare", "bags.csv", "--format", "csv", "--schema", "schema.json", "--out", "bags");
  const found = new Map<string, string>();
  for (const [name, run] of Object.entries(RUNS)) {
    const out = folderOf(name);
    const [data, model, budget] = run.bags ? ["bags", BAG_MODEL, "16KiB"] : ["clicks", MODEL, "1MiB"];
    const hot = run.flags.includes("--mode fae") ? ["--hot-memory", budget] : [];
    const fault = await hotset(
      ["train", data, "--preset", "kaggle", "--out", out, ...model, ...hot, ...run.flags.split(" ")],
      run,
    );
    found.set(name, fault === undefined ? checksumOf(join(place, out, "last")) : `${FAILED}${fault}`);
  }
  return found;
}

function checksumOf(checkpoint: string): string {
  const hash = createHash("sha256");
  const files = [...Deno.readDirSync(checkpoint)].map(({ name }) => name).filter((name) => name.endsWith(".f32"));
  for (const name of files.sort()) hash.update(name).update(Deno.readFileSync(join(checkpoint, name)));
  return hash.digest("hex").slice(0, 16);
}

if (import.meta.main) {
  const [before, after] = Deno.args;
  if (before === undefined) {
    console.error("error: name the commit to compare with, as in: deno task golden HEAD~1");
    Deno.exit(2);
  }
  const sides: Map<string, string>[] = [];
  for (const commit of [before, after]) {
    const place = Deno.makeTempDirSync();
    sides.push(await inCheckout(commit, (checkout) => checksums(checkout, place)));
    Deno.removeSync(place, { recursive: true });
  }
  let differing = 0;
  for (const [name, bits] of sides[0]) {
    const other = sides[1].get(name);
    const equal = bits === other && !bits.startsWith(FAILED);
    if (!equal) differing++;
    console.log(`${equal ? "equal  " : "DIFFERS"} ${name}: ${bits}${equal ? "" : ` -> ${other}`}`);
  }
  Deno.exit(differing === 0 ? 0 : 1);
}
