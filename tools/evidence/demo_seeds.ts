/**
 * Trains the demonstration with many seeds, in modes cpu and fae, and tells how many runs lost their dense features:
 *
 *     deno run -A tools/evidence/demo_seeds.ts --seeds 50 --out FOLDER
 *
 * The data are those of the demonstration's default seed; the seeds are those of training (initial parameters, order of
 * batches). Each run is a line of FOLDER/demo_seeds.jsonl; runs that are there are not made again, so the command can be
 * stopped and given again. Prints the table that docs/reliability.md shows; exits with 1 if a run died.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { DEMO_CONFIG, demoDataset, resolveConfig, startRun, Terminal } from "../../mod.ts";

/** Runs whose bottom MLP is dead end near .727, others near .770. */
const LEAST_AUC = 0.75;
const MODES = ["cpu", "fae"] as const;

interface Line {
  readonly seed: number;
  readonly mode: typeof MODES[number];
  readonly auc: number;
}

const { values } = parseArgs({ options: { seeds: { type: "string", default: "50" }, out: { type: "string" } } });
if (values.out === undefined) throw new Error("Cannot keep results: name a folder with --out");
Deno.mkdirSync(values.out, { recursive: true });
const file = join(values.out, "demo_seeds.jsonl");
using terminal = new Terminal();
const { seed: dataSeed } = resolveConfig("default");
const dataset = await demoDataset(dataSeed, values.out, terminal.report.bind(terminal));

const lines: Line[] = readLines();
const wanted = Array.from({ length: Number(values.seeds) }, (_, i) => i + 1)
  .flatMap((seed) => MODES.map((mode) => ({ seed, mode })));
for (const [i, { seed, mode }] of wanted.entries()) {
  if (lines.some((line) => line.seed === seed && line.mode === mode)) continue;
  terminal.report({ event: "stage", stage: `seed ${seed}, mode ${mode}`, fraction: i / wanted.length });
  const config = resolveConfig("default", DEMO_CONFIG, { mode, device: "cpu", ranks: 1, save: false, seed });
  const out = join(values.out, "run");
  if (existsSync(out)) Deno.removeSync(out, { recursive: true });
  const { auc } = await startRun(config, dataset, { out, report: () => {} });
  lines.push({ seed, mode, auc });
  Deno.writeTextFileSync(file, `${JSON.stringify(lines.at(-1))}\n`, { append: true });
}

console.log("| mode | runs | lowest AUC | mean +- sd | highest AUC | dead (AUC below .75) |");
console.log("| ---- | ---: | ---------: | ---------: | ----------: | -------------------: |");
for (const mode of MODES) {
  const aucs = lines.filter((line) => line.mode === mode).map(({ auc }) => auc);
  const mean = aucs.reduce((sum, auc) => sum + auc, 0) / aucs.length;
  const sd = Math.sqrt(aucs.reduce((sum, auc) => sum + (auc - mean) ** 2, 0) / (aucs.length - 1));
  const dead = aucs.filter((auc) => !(auc > LEAST_AUC)).length;
  const [least, average, most] = [Math.min(...aucs), mean, Math.max(...aucs)].map((auc) => auc.toFixed(4));
  console.log(`| ${mode} | ${aucs.length} | ${least} | ${average} +- ${sd.toFixed(4)} | ${most} | ${dead} |`);
}
if (lines.some(({ auc }) => !(auc > LEAST_AUC))) Deno.exitCode = 1;

function readLines(): Line[] {
  try {
    return Deno.readTextFileSync(file).trimEnd().split("\n").map((line) => JSON.parse(line));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
