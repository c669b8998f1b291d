/** Scores a split of a dataset with the full tables. */
import { breaks, inParts } from "../breaks.ts";
import type { Dataset, Split } from "../dataset/dataset.ts";
import { SplitBatches } from "../layout/split_batches.ts";
import { NotFinite, notFinite } from "../checkpoint/weights.ts";
import { type Decile, decilesOf } from "../events/deciles.ts";
import { countDeadUnits, type DeadUnits } from "../events/dead_units.ts";
import { metricParts, type Metrics, rankingOf } from "../events/metrics.ts";
import type { RankGroup } from "../ranks/rank_group.ts";

/** Logits of consecutive samples with their labels. */
export interface Scores {
  readonly logits: Float32Array;
  readonly labels: Uint8Array;
  /** The weight of each sample; undefined where the dataset has none. */
  readonly weights: Float32Array | undefined;
  /** Two words that name the group of each sample; undefined where the dataset has no groups. */
  readonly groups: Uint32Array | undefined;
  /** Units of hidden layers that were 0 for all of these samples. */
  readonly deadUnits: DeadUnits;
}

/** Metrics of a scored split. */
export interface Evaluation extends Metrics {
  /** Units of hidden layers that are 0 for all of its samples. */
  readonly deadUnits: DeadUnits;
  /** Its predicted probabilities beside observed clicks. */
  readonly deciles: readonly Decile[];
}

/**
 * Scores the first `limit` samples of a split. The full tables must be up to date. Throws NotFinite that names a sample
 * whose logit is not finite: such scores have no order, so no metric would be meaningful.
 */
export async function scoreSplit(
  group: RankGroup,
  dataset: Dataset,
  split: Split,
  limit = Infinity,
  onProgress: (fraction: number) => void = () => {},
): Promise<Scores> {
  const shape = group.memory.batchShape;
  using source = new SplitBatches(dataset, split, shape.batchSize);
  const samples = Math.min(dataset.samples(split), limit);
  const batches = Math.ceil(samples / shape.batchSize);
  const logits = new Float32Array(batches * shape.batchSize);
  const labels = new Uint8Array(batches * shape.batchSize);
  const weights = dataset.body.weight === undefined ? undefined : new Float32Array(labels.length);
  /** The first sample of the batch that is being scored in each slot. */
  const scored: (number | undefined)[] = group.batches.map(() => undefined);
  const collect = (slot: number) => {
    const first = scored[slot];
    if (first !== undefined) logits.set(group.scores(slot).subarray(0, group.batches[slot].samples), first);
  };
  for (let index = 0; index < batches; index++) {
    if (breaks.due) await breaks.take();
    if (!group.isReady) await group.ready();
    const slot = group.acquire();
    collect(slot);
    const batch = group.batches[slot];
    await inParts(source.readInParts(index, batch));
    const first = index * shape.batchSize;
    for (let i = 0; i < batch.samples; i++) {
      const word = batch.floats[batch.sections.labels + i];
      labels[first + i] = word > 0 ? 1 : 0;
      if (weights !== undefined) weights[first + i] = Math.abs(word);
    }
    group.score(slot);
    scored[slot] = first;
    onProgress((index + 1) / batches);
  }
  await group.drained();
  scored.forEach((_, slot) => collect(slot));
  const wrong = notFinite(logits.subarray(0, samples));
  if (wrong >= 0) {
    throw new NotFinite(`the logit of sample ${wrong} (from 0) of the ${split} split is ${logits[wrong]}`);
  }
  const deadUnits = countDeadUnits(group.memory.plan, group.takeActiveUnits());
  const groups = dataset.readGroups(split, samples);
  return {
    logits: logits.subarray(0, samples),
    labels: labels.subarray(0, samples),
    weights: weights?.subarray(0, samples),
    groups,
    deadUnits,
  };
}

export async function evaluationOf({ logits, labels, weights, groups, deadUnits }: Scores): Promise<Evaluation> {
  const ranking = rankingOf(logits, labels, weights);
  if (breaks.due) await breaks.take();
  const metrics = await inParts(metricParts(logits, labels, ranking, groups, weights));
  if (breaks.due) await breaks.take();
  return { ...metrics, deadUnits, deciles: decilesOf(ranking) };
}

/** The probability of a click for a logit: its sigmoid. */
export function probabilityOf(logit: number): number {
  return 1 / (1 + Math.exp(-logit));
}
