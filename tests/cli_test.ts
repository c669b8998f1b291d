import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { writeCriteoLog } from "../mod.ts";
import { TemporaryDirectory } from "./support/temporary.ts";

const CLI = fileURLToPath(new URL("../cli.ts", import.meta.url));
const SMALL = ["--arch-mlp-bot", "13-16-8", "--arch-mlp-top", "16-1", "--batch-size", "64", "--ranks", "1"];

async function hotset(folder: string, ...args: string[]) {
  const command = new Deno.Command(Deno.execPath(), { args: ["run", "-A", CLI, ...args], cwd: folder });
  const { code, stdout, stderr } = await command.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

function clicks(folder: string, samples = 600): string {
  const path = `${folder}/clicks.tsv`;
  writeCriteoLog(path, { samples, seed: 5, scale: 1000, fractions: { validation: 0.1, test: 0.1 } });
  return path;
}

/** Bytes of all files under a folder, by path. */
function filesUnder(folder: string, prefix = ""): Map<string, string> {
  const files = new Map<string, string>();
  for (const entry of Deno.readDirSync(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) { for (const [k, v] of filesUnder(path, `${prefix}${entry.name}/`)) files.set(k, v); }
    else files.set(prefix + entry.name, Deno.readFileSync(path).toHex());
  }
  return files;
}

/** Bad input: what is run in a folder that `arrange` prepared, the exit code, and the one line on stderr. */
const BAD: [name: string, arrange: (folder: string) => string[], code: number, error: RegExp][] = [
  ["no input", () => ["train"], 2, /^error: Cannot train: name a dataset or raw files, or use --demo$/],
  ["an unknown flag", () => ["train", "--bogus"], 2, /^error: unknown option '--bogus'/],
  ["an unknown command", () => ["fly"], 2, /^error: unknown command 'fly'/],
  ["a missing file", () => ["train", "none.tsv"], 1, /^error: Cannot .*none\.tsv/],
  [
    "an empty file",
    (folder) => {
      Deno.writeTextFileSync(`${folder}/empty.tsv`, "");
      return ["train", "empty.tsv"];
    },
    1,
    /^error: Cannot .*empty/,
  ],
  [
    "a wrong number of columns",
    (folder) => {
      Deno.writeTextFileSync(`${folder}/short.tsv`, "1\t2\t3\n");
      return ["train", "short.tsv"];
    },
    1,
    /^error: Cannot .*short\.tsv.*line 1.*column/,
  ],
  [
    "label 2",
    (folder) => {
      const lines = Deno.readTextFileSync(clicks(folder, 50)).split("\n");
      lines[6] = `2${lines[6].slice(1)}`;
      Deno.writeTextFileSync(`${folder}/label.tsv`, lines.join("\n"));
      Deno.removeSync(`${folder}/clicks.tsv`);
      return ["train", "label.tsv"];
    },
    1,
    /^error: Cannot .*label\.tsv.*line 7.*label/,
  ],
  [
    "a budget below the small tables",
    (folder) => ["train", clicks(folder), "--hot-memory", "1KiB", ...SMALL],
    1,
    /^error: Cannot profile .*give at least \d+, or 0/,
  ],
  [
    "a bottom MLP that does not fit the rows",
    (folder) => [
      "train",
      clicks(folder),
      "--arch-mlp-bot",
      "13-32-8",
      "--arch-sparse-feature-size",
      "16",
    ],
    1,
    /^error: Cannot build the model: the bottom MLP 13-32-8 ends in 8/,
  ],
  [
    "a bottom MLP that does not fit the data",
    (folder) => ["train", clicks(folder), "--arch-mlp-bot", "4-32-16"],
    1,
    /^error: Cannot train on .*takes 4 values and the data has 13/,
  ],
  [
    "a mode that needs a device",
    (folder) => ["train", clicks(folder), "--mode", "gpu", "--device", "cpu"],
    2,
    /^error: Cannot train in mode gpu on the CPU/,
  ],
  ["a resume of nothing", () => ["train", "--resume", "--out", "none"], 1, /^error: Cannot .*none/],
  [
    "bytes that are none",
    () => ["train", "--demo", "--hot-memory", "lots"],
    2,
    /^error: option '--hot-memory <bytes>'.*512MiB/,
  ],
  [
    "a configuration that is no JSON",
    (folder) => {
      Deno.writeTextFileSync(`${folder}/config.json`, "batch-size: 3");
      return ["train", "--demo", "--config", "config.json"];
    },
    2,
    /^error: Cannot read the configuration config\.json/,
  ],
  ["a run that is none", () => ["evaluate", "nothing"], 1, /^error: Cannot open run nothing/],
];

for (const [name, arrange, code, error] of BAD) {
  Deno.test(`bad input, one line: ${name}`, async () => {
    using folder = new TemporaryDirectory();
    const args = arrange(folder.path);
    const result = await hotset(folder.path, ...args, "--quiet");
    const lines = result.err.trim().split("\n").filter((line) => !line.startsWith("(run with"));
    assert.equal(lines.length, 1, result.err);
    assert.match(lines[0], error);
    assert.equal(result.code, code);
    assert.equal(result.out, "");
    const leftovers = [...filesUnder(folder.path).keys()].filter((path) =>
      path.includes("partial") || path.includes("run.json")
    );
    assert.deepEqual(leftovers, []);
  });
}

Deno.test("prepare, profile, layout, train, evaluate and predict, one after the other", async () => {
  using folder = new TemporaryDirectory();
  const log = clicks(folder.path, 2000);
  const run = async (...args: string[]) => {
    const result = await hotset(folder.path, ...args, "--json", "--quiet");
    assert.equal(result.code, 0, result.err);
    assert.equal(result.err, "");
    return result.out.trim().split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
  };
  await run("prepare", log, "--out", "data");
  const [profile] = (await run("profile", "data", "--arch-sparse-feature-size", "8", "--hot-memory", "200KiB"))
    .filter((event) => event.event === "profile");
  for (
    const field of ["sampleRate", "threshold", "hotRows", "hotBytes", "hotBytesEstimate", "hotLookupShare", "tables"]
  ) {
    assert.ok(field in profile, field);
  }
  assert.ok(profile.hotBytes <= 200 * 1024);
  const [layout] = (await run("layout", "data", "--arch-sparse-feature-size", "8", "--hot-memory", "200KiB"))
    .filter((event) => event.event === "layout");
  assert.equal(layout.samples, layout.hotSamples + Math.round((1 - layout.hotSampleShare) * layout.samples));
  const events = await run("train", "data", ...SMALL, "--hot-memory", "200KiB", "--out", "run", "--device", "cpu");
  const result = events.at(-1);
  assert.equal(result.event, "result");
  for (
    const field of ["mode", "device", "ranks", "samples", "steps", "seconds", "samplesPerSecond", "auc", "logloss"]
      .concat(["accuracy", "calibration", "ne", "hotSampleShare", "hotRows", "hotBytes", "hostToDeviceBytes"])
      .concat(["deviceToHostBytes", "peakRssBytes", "run"])
  ) assert.ok(field in result, field);
  const evaluated = (await run("evaluate", "run")).find((event) => event.split === "test");
  assert.ok(Math.abs(evaluated.auc - result.auc) < 1e-9);
  const predicted = await hotset(folder.path, "predict", "run", log, "--out", "scores.csv", "--quiet");
  assert.equal(predicted.code, 0, predicted.err);
  const scores = Deno.readTextFileSync(`${folder.path}/scores.csv`).trim().split("\n");
  assert.equal(scores.length, 2001);
  assert.ok(scores.slice(1).every((line) => Number(line.split(",").at(-1)) > 0 && Number(line.split(",").at(-1)) < 1));
});

Deno.test("the same command twice gives the same bits in layout and checkpoint", async () => {
  using folder = new TemporaryDirectory();
  const log = clicks(folder.path, 1500);
  for (const name of ["a", "b"]) {
    const flags = [...SMALL, "--hot-memory", "200KiB", "--device", "cpu", "--out", `${name}/run`, "--quiet"];
    const { code, err } = await hotset(folder.path, "train", log, ...flags);
    assert.equal(code, 0, err);
  }
  for (const part of ["run/last", "run/best", "layouts"]) {
    const [a, b] = ["a", "b"].map((name) => filesUnder(`${folder.path}/${name}/${part}`));
    assert.ok(a.size >= 3);
    assert.deepEqual(a, b);
  }
});

for (const mode of ["cpu", "fae"]) {
  Deno.test(`a run that is interrupted and resumed ends in the same bits, mode ${mode}`, async () => {
    using folder = new TemporaryDirectory();
    const log = clicks(folder.path, 40_000);
    const flags = [...SMALL, "--mode", mode, "--device", "cpu", "--hot-memory", "1MiB", "--epochs", "6"];
    const whole = await hotset(folder.path, "train", log, ...flags, "--out", "whole", "--quiet");
    assert.equal(whole.code, 0, whole.err);
    const args = ["run", "-A", CLI, "train", log, ...flags, "--out", "cut", "--json", "--quiet", "--print-freq", "20"];
    const child = new Deno.Command(Deno.execPath(), { args, cwd: folder.path, stdout: "piped", stderr: "piped" })
      .spawn();
    let seen = "";
    let sent = false;
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      seen += part.value;
      if (sent || (seen.match(/"progress"/g) ?? []).length < 3) continue;
      sent = true;
      child.kill("SIGINT");
    }
    const stderr = await new Response(child.stderr).text();
    assert.equal((await child.status).code, 130, stderr);
    assert.match(stderr, /Continue with: .*--resume --out cut/);
    const resumed = await hotset(folder.path, "train", "--resume", "--out", "cut", "--quiet");
    assert.equal(resumed.code, 0, resumed.err);
    const [a, b] = ["whole", "cut"].map((name) => filesUnder(`${folder.path}/${name}/last`));
    assert.deepEqual(b, a);
  });
}

Deno.test("a damaged layout or checkpoint is named and refused", async () => {
  using folder = new TemporaryDirectory();
  const flags = [...SMALL, "--device", "cpu", "--hot-memory", "200KiB", "--quiet"];
  assert.equal((await hotset(folder.path, "train", clicks(folder.path), ...flags, "--out", "one")).code, 0);
  const [layout] = Deno.readDirSync(`${folder.path}/layouts`);
  Deno.truncateSync(`${folder.path}/layouts/${layout.name}/hot.batches`, 100);
  const again = await hotset(folder.path, "train", `${folder.path}/clicks.tsv`, ...flags, "--out", "two");
  assert.equal(again.code, 1);
  assert.match(again.err, /^error: Cannot open layout .*hot\.batches has 100 bytes/);
  const rows = `${folder.path}/one/best/rows.f32`;
  const bytes = Deno.readFileSync(rows);
  bytes[40] ^= 1;
  Deno.writeFileSync(rows, bytes);
  const evaluated = await hotset(folder.path, "evaluate", "one", "--quiet");
  assert.equal(evaluated.code, 1);
  assert.match(evaluated.err, /^error: Cannot open checkpoint .*rows\.f32 is damaged/);
});

Deno.test("every command explains itself with an example", async () => {
  using folder = new TemporaryDirectory();
  for (
    const command of ["prepare", "generate", "profile", "layout", "plan", "train", "evaluate", "predict", "doctor"]
  ) {
    const { code, out } = await hotset(folder.path, command, "-h");
    assert.equal(code, 0);
    assert.match(out, /Example: /, command);
  }
});
