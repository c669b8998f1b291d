/**
 * Tries learning rates and compares them on the validation split: deno run -A examples/sweep.ts clicks sweep
 *
 * The first argument is a dataset (`hotset prepare` makes one), so that it is prepared once. Layouts are made once too: all
 * runs lie in one folder, and none of what is varied changes them.
 */
import { Dataset } from "@hotset/hotset/dataset";
import { type EvaluationEvent, resolveConfig, startRun, type TrainConfig } from "@hotset/hotset/train";

const [data, folder] = Deno.args;

const dataset = Dataset.open(data);
const results: { learningRate: number; auc: number }[] = [];
for (const learningRate of [0.003, 0.01, 0.03]) {
  const model = { mode: "cpu", bottom: [32, 16], top: [32, 1] } satisfies Partial<TrainConfig>;
  const config = resolveConfig("default", model, { optimizer: "adagrad", epochs: 1, learningRate });
  const validation: EvaluationEvent[] = [];
  await startRun(config, dataset, {
    out: `${folder}/rate-${learningRate}`,
    report: (event) => {
      if (event.event === "evaluation" && event.split === "validation") validation.push(event);
    },
  });
  results.push({ learningRate, auc: Math.max(...validation.map(({ auc }) => auc)) });
}
console.table(results.sort((a, b) => b.auc - a.auc));
