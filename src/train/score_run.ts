/** Uses a trained run: its metrics on a dataset, and scores for new rows. */
import { Dataset, type Split, SPLITS } from "../dataset/dataset.ts";
import { encodeWith, type ReadOptions } from "../dataset/prepare.ts";
import { HotsetError } from "../errors.ts";
import { SplitBatches } from "../layout/split_batches.ts";
import { planModel } from "../model/shape.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { type Scores, scoreSplit } from "./evaluate.ts";
import type { EvaluationEvent, Report } from "./events.ts";
import { metricsOf } from "./metrics.ts";
import { openRanks } from "./placement.ts";
import { openBest, readRun } from "./run.ts";

/** Samples scored at a time. */
const BATCH_SAMPLES = 2048;

/**
 * Metrics of a run's best checkpoint on the validation and test splits of its dataset, or of another dataset with the
 * same tables. Throws HotsetError if there is nothing to score.
 */
export async function evaluateRun(
  run: string,
  dataset: string | undefined,
  report: Report,
): Promise<EvaluationEvent[]> {
  const record = readRun(run);
  const checkpoint = openBest(run);
  const data = Dataset.open(dataset ?? record.dataset);
  const events: EvaluationEvent[] = [];
  for (const split of SPLITS) {
    if (split === "train" || data.samples(split) === 0) continue;
    const { logits, labels } = await scoreWith(checkpoint, data, split, report);
    const { epoch, step } = checkpoint.body.state;
    const event: EvaluationEvent = { event: "evaluation", split, epoch, step, ...metricsOf(logits, labels) };
    report(event);
    events.push(event);
  }
  if (events.length === 0) {
    throw new HotsetError(`Cannot evaluate ${run}: dataset ${data.directory} has neither validation nor test samples`);
  }
  return events;
}

/** Click probabilities (rows of the inputs, in order) by a run's best checkpoint. `temporary` is a directory to work in. */
export async function predictRun(
  run: string,
  inputs: readonly string[],
  temporary: string,
  options: ReadOptions,
  report: Report,
): Promise<Float32Array> {
  const record = readRun(run);
  const checkpoint = openBest(run);
  const trained = Dataset.open(record.dataset);
  const { dataset } = await encodeWith(trained, inputs, {
    ...options,
    out: `${temporary}/dataset`,
    onProgress: (stage, fraction) => report({ event: "stage", stage: `encode: ${stage}`, fraction }),
  });
  const { logits } = await scoreWith(checkpoint, dataset, "test", report);
  return logits.map((logit) => 1 / (1 + Math.exp(-logit)));
}

async function scoreWith(checkpoint: Checkpoint, dataset: Dataset, split: Split, report: Report): Promise<Scores> {
  const { model } = checkpoint.body;
  const rows = dataset.body.tables.map((table) => table.rows);
  if (JSON.stringify(rows) !== JSON.stringify(model.tableRows) || dataset.denseFeatures !== model.bottom[0]) {
    throw new HotsetError(
      `Cannot score dataset ${dataset.directory}: it has ${dataset.denseFeatures} dense features and ${dataset.tables} ` +
        `tables of ${dataset.rows} rows, the model expects ${model.bottom[0]}, ${model.tableRows.length} and ` +
        `${model.tableRows.reduce((sum, count) => sum + count, 0)}; encode the data with the run's own dictionary`,
    );
  }
  using batches = new SplitBatches(dataset, split, BATCH_SAMPLES);
  const config = { mode: "cpu", device: "auto", ranks: null } as const;
  await using group = await openRanks(config, planModel(model), batches.shape, 0, () => {});
  checkpoint.load(group.memory, model);
  return scoreSplit(
    group,
    dataset,
    split,
    Infinity,
    (fraction) => report({ event: "stage", stage: "score", fraction }),
  );
}
