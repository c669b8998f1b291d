/**
 * Trains the demonstration with many seeds and reports how many runs died: no unit of some layer of the bottom MLP is
 * ever above 0, so that the model ignores its dense features.
 *
 *     deno run -A tools/evidence/demo_seeds.ts --mode cpu --seeds 50
 *
 * The data is that of the demonstration's default seed; the seeds are those of training (initial parameters, order of
 * batches). Writes one JSON object; exit status 1 if a run died.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Terminal } from "../../src/report/terminal.ts";
import { resolveConfig, type TrainConfig } from "../../src/config/config.ts";
import { DEMO_CONFIG, demoDataset } from "../../src/run/demo.ts";
import type { EvaluationEvent, RunEvent } from "../../src/events/events.ts";
import { startRun } from "../../src/run/run.ts";

/** Runs with a dead bottom MLP end near .727, others near .770. */
const MIN_AUC = 0.75;

const { values } = parseArgs({
  options: { mode: { type: "string", default: "cpu" }, seeds: { type: "string", default: "50" } },
});
const folder = Deno.makeTempDirSync({ prefix: "hotset-demo-" });
const aucs: number[] = [];
let dead = 0;
try {
  using terminal = new Terminal();
  const mode = values.mode as TrainConfig["mode"];
  const dataset = await demoDataset(resolveConfig("default").seed, folder, () => {});
  for (let seed = 1; seed <= Number(values.seeds); seed++) {
    terminal.report({ event: "stage", stage: `mode ${mode}, seed ${seed}`, fraction: seed / Number(values.seeds) });
    const config = resolveConfig("default", DEMO_CONFIG, { mode, device: "cpu", ranks: 1, save: false, seed });
    const events: RunEvent[] = [];
    const out = join(folder, `run-${seed}`);
    const { auc } = await startRun(config, dataset, { out, report: (event) => events.push(event) });
    const evaluations = events.filter((event): event is EvaluationEvent => event.event === "evaluation");
    const isDead = evaluations.some(({ deadUnits: { bottom } }) =>
      bottom.some((units, i) => units === config.bottom[i])
    );
    if (isDead || !(auc > MIN_AUC)) dead++;
    aucs.push(auc);
  }
} finally {
  Deno.removeSync(folder, { recursive: true });
}
const mean = aucs.reduce((sum, auc) => sum + auc, 0) / aucs.length;
const deviation = Math.sqrt(aucs.reduce((sum, auc) => sum + (auc - mean) ** 2, 0) / (aucs.length - 1));
console.log(JSON.stringify({ runs: aucs.length, least: Math.min(...aucs), mean, deviation, dead }));
if (dead > 0) Deno.exitCode = 1;
