/** Metrics of a scored split. */

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
 * that name the group of each sample. Throws nothing.
 */
export function metricsOf(logits: Float32Array, labels: Uint8Array, groups?: Uint32Array): Metrics {
  const count = logits.length;
  let loss = 0;
  let right = 0;
  let predicted = 0;
  let positives = 0;
  for (let i = 0; i < count; i++) {
    const z = logits[i];
    loss += lossOf(z, labels[i]);
    predicted += 1 / (1 + Math.exp(-z));
    positives += labels[i];
    if ((z > 0 ? 1 : 0) === labels[i]) right++;
  }
  const rate = positives / count;
  const baseEntropy = -(rate * Math.log(rate) + (1 - rate) * Math.log(1 - rate));
  const order = sortedOrder(logits);
  return {
    auc: auc(logits, labels, order),
    prAuc: averagePrecision(logits, labels, order),
    logloss: loss / count,
    accuracy: right / count,
    calibration: positives === 0 ? NaN : predicted / positives,
    ne: loss / count / baseEntropy,
    ...(groups === undefined ? {} : { byGroup: groupMetrics(logits, labels, groups, order) }),
  };
}

/** Binary cross-entropy of a logit. */
function lossOf(logit: number, label: number): number {
  return Math.max(logit, 0) - logit * label + Math.log1p(Math.exp(-Math.abs(logit)));
}

/** Metrics by group; `order` has the positions of the logits in ascending order. */
function groupMetrics(
  logits: Float32Array,
  labels: Uint8Array,
  groups: Uint32Array,
  order: Uint32Array,
): GroupMetrics {
  const byGroup = [0, 1].reduce((sorted, word) => sortedBy(groups, 2, word, sorted), order);
  let found = 0, oneClass = 0, losses = 0, ranked = 0, weighted = 0;
  for (let begin = 0, end = 0; begin < byGroup.length; begin = end) {
    const first = 2 * byGroup[begin];
    let loss = 0;
    for (; end < byGroup.length; end++) {
      const i = byGroup[end];
      if (groups[2 * i] !== groups[first] || groups[2 * i + 1] !== groups[first + 1]) break;
      loss += lossOf(logits[i], labels[i]);
    }
    const value = auc(logits, labels, byGroup.subarray(begin, end));
    found++;
    losses += loss / (end - begin);
    if (Number.isNaN(value)) {
      oneClass++;
    } else {
      ranked += end - begin;
      weighted += value * (end - begin);
    }
  }
  return { gauc: weighted / ranked, logloss: losses / found, groups: found, oneClass };
}

/**
 * Area under the ROC curve by the rank-sum formula of Mann and Whitney: the share of (positive, negative) pairs in the
 * right order, ties counted half. NaN if all labels are equal or a score is NaN.
 */
export function auc(scores: Float32Array, labels: Uint8Array, order = sortedOrder(scores)): number {
  let positives = 0;
  let rankSum = 0;
  for (let i = 0; i < order.length;) {
    let end = i;
    let tied = 0;
    const score = scores[order[i]];
    if (Number.isNaN(score)) return NaN;
    for (; end < order.length && scores[order[end]] === score; end++) tied += labels[order[end]];
    rankSum += tied * (i + end + 1) / 2; // ranks count from 1, so the mean of i + 1 .. end
    positives += tied;
    i = end;
  }
  const negatives = order.length - positives;
  if (positives === 0 || negatives === 0) return NaN;
  return (rankSum - positives * (positives + 1) / 2) / (positives * negatives);
}

/**
 * Average precision: the precision at each score, weighted by the share of the positives with this score. NaN without
 * positives or if a score is NaN.
 */
export function averagePrecision(scores: Float32Array, labels: Uint8Array, order = sortedOrder(scores)): number {
  let found = 0;
  let sum = 0;
  for (let end = order.length; end > 0;) {
    const score = scores[order[end - 1]];
    if (Number.isNaN(score)) return NaN;
    let begin = end;
    let tied = 0;
    for (; begin > 0 && scores[order[begin - 1]] === score; begin--) tied += labels[order[begin - 1]];
    found += tied;
    sum += tied * found / (order.length - begin);
    end = begin;
  }
  return sum / found;
}

/** Positions of the scores in ascending order: a radix sort of their bits, 16 at a time. */
function sortedOrder(scores: Float32Array): Uint32Array {
  const count = scores.length;
  const keys = new Uint32Array(scores.slice().buffer);
  for (let i = 0; i < count; i++) {
    if (keys[i] === 0x80000000) keys[i] = 0; // minus zero equals zero
    keys[i] ^= keys[i] & 0x80000000 ? 0xffffffff : 0x80000000;
  }
  return sortedBy(keys, 1, 0, Uint32Array.from(keys, (_, i) => i));
}

/** Sorts positions by a word of their keys of `words` words, 16 bits at a time; those with equal words stay in order. */
function sortedBy(keys: Uint32Array, words: number, word: number, positions: Uint32Array): Uint32Array {
  const count = positions.length;
  let order = positions.slice();
  let sorted = new Uint32Array(count);
  for (const shift of [0, 16]) {
    const starts = new Uint32Array(65537);
    for (let i = 0; i < count; i++) starts[((keys[words * i + word] >>> shift) & 0xffff) + 1]++;
    for (let digit = 0; digit < 65536; digit++) starts[digit + 1] += starts[digit];
    for (let i = 0; i < count; i++) {
      sorted[starts[(keys[words * order[i] + word] >>> shift) & 0xffff]++] = order[i];
    }
    [order, sorted] = [sorted, order];
  }
  return order;
}
