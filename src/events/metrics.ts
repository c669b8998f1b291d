/** Metrics of a scored split. */
import { atOnce, type Parts } from "../breaks.ts";

/** Samples whose sums are one part of the work, which takes a few milliseconds. */
const SAMPLES_AT_ONCE = 1 << 16;

/** Metrics of a set of scored samples. */
export interface Metrics {
  /** Area under the ROC curve, exact, ties counted half; NaN if all labels are equal. */
  readonly auc: number;
  /**
   * Area under the precision-recall curve as average precision, ties taken together; NaN without positives. It is more
   * informative than the AUC if positives are rare: chance level is the share of positives.
   */
  readonly prAuc: number;
  /** Mean binary cross-entropy in nats. */
  readonly logloss: number;
  /** Share of samples that are classified correctly at probability 0.5. */
  readonly accuracy: number;
  /** Sum of predicted probabilities over number of positives; 1 is calibrated, NaN without positives. */
  readonly calibration: number;
  /** Normalised entropy: logloss divided by the logloss of always predicting the click rate; below 1 is better. */
  readonly ne: number;
  /** True if samples have weights, with which all of these figures count them; absent otherwise. */
  readonly weighted?: true | undefined;
  /** The same by group; absent where the dataset has no column of groups. */
  readonly byGroup?: GroupMetrics | undefined;
}

/** Metrics of each group of samples, such as those of a user, together. */
export interface GroupMetrics {
  /** GAUC: mean AUC of the groups that have both classes, weighted by their samples; NaN if none has. */
  readonly gauc: number;
  /** Mean of the loglosses of all groups, each counted once. */
  readonly logloss: number;
  /** Number of groups. */
  readonly groups: number;
  /** Those of them whose labels are all equal: they have no AUC. */
  readonly oneClass: number;
}

/**
 * Metrics of logits (count), the model's outputs before the sigmoid, against labels 0 or 1 (count). `groups` has two words
 * that name the group of each sample; `weights` (default 1 each) say how much a sample counts in every sum, mean and
 * share, and in pairs of an AUC their product. Throws nothing.
 */
export function metricsOf(
  logits: Float32Array,
  labels: Uint8Array,
  groups?: Uint32Array,
  weights?: Float32Array,
): Metrics {
  return atOnce(metricParts(logits, labels, rankingOf(logits, labels, weights), groups, weights));
}

/** The same in parts; `ranking` is that of these samples. */
export function* metricParts(
  logits: Float32Array,
  labels: Uint8Array,
  ranking: Ranking,
  groups?: Uint32Array,
  weights?: Float32Array,
): Parts<Metrics> {
  const sums = new Sums();
  for (let first = 0; first < logits.length; first += SAMPLES_AT_ONCE) {
    sums.add(logits, labels, weights, first, Math.min(first + SAMPLES_AT_ONCE, logits.length));
    yield;
  }
  const { count, loss, right, predicted, positives } = sums;
  const rate = positives / count;
  const baseEntropy = -(rate * Math.log(rate) + (1 - rate) * Math.log(1 - rate));
  const metrics: Metrics = {
    auc: aucOf(ranking),
    prAuc: averagePrecision(ranking),
    logloss: loss / count,
    accuracy: right / count,
    calibration: positives === 0 ? NaN : predicted / positives,
    ne: loss / count / baseEntropy,
    ...(weights === undefined ? {} : { weighted: true }),
  };
  yield;
  return groups === undefined
    ? metrics
    : { ...metrics, byGroup: groupMetrics(logits, labels, groups, ranking, weights) };
}

/** Samples in ascending order of their scores. */
export interface Ranking {
  /** Their positions. */
  readonly order: Uint32Array;
  readonly scores: Float32Array;
  readonly labels: Uint8Array;
  /** Undefined for 1 each. */
  readonly weights: Float32Array | undefined;
}

/**
 * Ranks samples; `order` has their positions by ascending score. What reads ranked samples reads memory in order, which is
 * several times as fast as by position.
 */
export function rankingOf(
  scores: Float32Array,
  labels: Uint8Array,
  weights?: Float32Array,
  order: Uint32Array = sortedOrder(scores),
): Ranking {
  const count = order.length;
  const ranking = {
    order,
    scores: new Float32Array(count),
    labels: new Uint8Array(count),
    weights: weights && new Float32Array(count),
  };
  for (let i = 0; i < count; i++) {
    const at = order[i];
    ranking.scores[i] = scores[at];
    ranking.labels[i] = labels[at];
  }
  if (weights !== undefined) { for (let i = 0; i < count; i++) ranking.weights![i] = weights[order[i]]; }
  return ranking;
}

/** Sums over samples, each multiplied by its weight. */
class Sums {
  count = 0;
  loss = 0;
  right = 0;
  predicted = 0;
  positives = 0;

  /** Adds samples `[first, end)`. Not a part of the generator, whose loops take several times as long. */
  add(logits: Float32Array, labels: Uint8Array, weights: Float32Array | undefined, first: number, end: number): void {
    let { count, loss, right, predicted, positives } = this;
    for (let i = first; i < end; i++) {
      const z = logits[i];
      const weight = weights === undefined ? 1 : weights[i];
      count += weight;
      loss += weight * lossOf(z, labels[i]);
      predicted += weight / (1 + Math.exp(-z));
      positives += weight * labels[i];
      if ((z > 0 ? 1 : 0) === labels[i]) right += weight;
    }
    Object.assign(this, { count, loss, right, predicted, positives });
  }
}

/** Binary cross-entropy of a logit. */
function lossOf(logit: number, label: number): number {
  return Math.max(logit, 0) - logit * label + Math.log1p(Math.exp(-Math.abs(logit)));
}

/** Metrics by group. */
function groupMetrics(
  logits: Float32Array,
  labels: Uint8Array,
  groups: Uint32Array,
  ranking: Ranking,
  weights: Float32Array | undefined,
): GroupMetrics {
  const order = [0, 1].reduce((sorted, word) => sortedBy(groups, 2, word, sorted), ranking.order);
  const byGroup = rankingOf(logits, labels, weights, order);
  let found = 0, oneClass = 0, losses = 0, ranked = 0, weighted = 0;
  for (let begin = 0, end = 0; begin < order.length; begin = end) {
    const first = 2 * order[begin];
    let loss = 0, count = 0;
    for (; end < order.length; end++) {
      const i = order[end];
      if (groups[2 * i] !== groups[first] || groups[2 * i + 1] !== groups[first + 1]) break;
      const weight = weights === undefined ? 1 : weights[i];
      count += weight;
      loss += weight * lossOf(logits[i], labels[i]);
    }
    const value = aucOf(byGroup, begin, end);
    found++;
    losses += loss / count;
    if (Number.isNaN(value)) {
      oneClass++;
    } else {
      ranked += count;
      weighted += value * count;
    }
  }
  return { gauc: weighted / ranked, logloss: losses / found, groups: found, oneClass };
}

/**
 * Area under the ROC curve of scores (count) against labels 0 or 1 (count): the share of (positive, negative) pairs in the
 * right order, ties counted half, a pair counted with the product of its weights (count; default 1 each). `order` has the
 * positions of the samples that count, by ascending score; default all. NaN if all labels are equal or a score is NaN.
 */
export function auc(
  scores: Float32Array,
  labels: Uint8Array,
  order: Uint32Array = sortedOrder(scores),
  weights?: Float32Array,
): number {
  return aucOf(rankingOf(scores, labels, weights, order));
}

/** The same of ranked samples `[begin, end)`. Labels are factors, because branches that follow them are mispredicted. */
function aucOf({ scores, labels, weights }: Ranking, begin = 0, end = scores.length): number {
  let positives = 0;
  let negatives = 0;
  let ordered = 0;
  for (let i = begin; i < end;) {
    let tiedPositives = 0;
    let tiedNegatives = 0;
    const score = scores[i];
    if (Number.isNaN(score)) return NaN;
    for (; i < end && scores[i] === score; i++) {
      const weight = weights === undefined ? 1 : weights[i];
      tiedPositives += weight * labels[i];
      tiedNegatives += weight * (1 - labels[i]);
    }
    ordered += tiedPositives * (negatives + tiedNegatives / 2);
    positives += tiedPositives;
    negatives += tiedNegatives;
  }
  return positives === 0 || negatives === 0 ? NaN : ordered / (positives * negatives);
}

/**
 * Average precision: the precision at each score, weighted by the share of the positives with this score. NaN without
 * positives or if a score is NaN.
 */
export function averagePrecision({ scores, labels, weights }: Ranking): number {
  let found = 0;
  let all = 0;
  let sum = 0;
  for (let end = scores.length; end > 0;) {
    const score = scores[end - 1];
    if (Number.isNaN(score)) return NaN;
    let tied = 0;
    for (; end > 0 && scores[end - 1] === score; end--) {
      const weight = weights === undefined ? 1 : weights[end - 1];
      tied += weight * labels[end - 1];
      all += weight;
    }
    found += tied;
    sum += tied * found / all;
  }
  return sum / found;
}

/** Positions of the scores in ascending order: a radix sort of their bits. */
function sortedOrder(scores: Float32Array): Uint32Array {
  const count = scores.length;
  const keys = new Uint32Array(scores.slice().buffer);
  for (let i = 0; i < count; i++) {
    if (keys[i] === 0x80000000) keys[i] = 0; // minus zero equals zero
    keys[i] ^= keys[i] & 0x80000000 ? 0xffffffff : 0x80000000;
  }
  const positions = new Uint32Array(count);
  for (let i = 0; i < count; i++) positions[i] = i; // many times as fast as Uint32Array.from
  return sortedBy(keys, 1, 0, positions);
}

/** Bits of a key that are sorted at a time: as many counters as stay in the first-level cache. */
const DIGIT_BITS = 11;

/** Sorts positions by a word of their keys of `words` words; those with equal words stay in order. */
function sortedBy(keys: Uint32Array, words: number, word: number, positions: Uint32Array): Uint32Array {
  const count = positions.length;
  let from = { keys: new Uint32Array(count), positions };
  for (let i = 0; i < count; i++) from.keys[i] = keys[words * positions[i] + word];
  let to = { keys: new Uint32Array(count), positions: new Uint32Array(count) };
  let spare = new Uint32Array(count);
  for (let shift = 0; shift < 32; shift += DIGIT_BITS) {
    sortDigit(shift, from, to);
    [from, to, spare] = [to, { keys: from.keys, positions: spare }, to.positions];
  }
  return from.positions;
}

/** Distributes keys with their positions by one digit of the keys. */
function sortDigit(shift: number, from: KeyedPositions, to: KeyedPositions): void {
  const starts = new Uint32Array((1 << DIGIT_BITS) + 1);
  const last = (1 << DIGIT_BITS) - 1;
  for (let i = 0; i < from.keys.length; i++) starts[((from.keys[i] >>> shift) & last) + 1]++;
  for (let digit = 0; digit < last; digit++) starts[digit + 1] += starts[digit];
  for (let i = 0; i < from.keys.length; i++) {
    const key = from.keys[i];
    const at = starts[(key >>> shift) & last]++;
    to.keys[at] = key;
    to.positions[at] = from.positions[i];
  }
}

/** Keys, each with its position. */
interface KeyedPositions {
  readonly keys: Uint32Array;
  readonly positions: Uint32Array;
}
