import assert from "node:assert/strict";
import { Random } from "../../src/random.ts";
import { auc, averagePrecision, metricsOf, rankingOf } from "../../src/events/metrics.ts";

/** The definition: the share of (positive, negative) pairs in the right order, ties counted half. */
function pairCount(scores: Float32Array, labels: Uint8Array): number {
  let right = 0;
  let pairs = 0;
  for (let p = 0; p < scores.length; p++) {
    for (let n = 0; n < scores.length; n++) {
      if (labels[p] !== 1 || labels[n] !== 0) continue;
      pairs++;
      right += scores[p] > scores[n] ? 1 : scores[p] === scores[n] ? 0.5 : 0;
    }
  }
  return right / pairs;
}

function labelsOf(count: number, random: Random): Uint8Array {
  return Uint8Array.from({ length: count }, () => random.below(2));
}

Deno.test("AUC is the share of pairs in the right order", () => {
  const random = new Random(1);
  const draws: [string, () => number][] = [
    ["distinct scores", () => random.normal()],
    ["many ties", () => random.below(4) - 1.5],
    ["all tied", () => 0.25],
    ["zeros of both signs", () => [0, -0, 1e-30, -1e-30][random.below(4)]],
    ["every magnitude", () => random.normal() * 10 ** (60 * random.uniform() - 30)],
    ["infinities", () => [Infinity, -Infinity, 3][random.below(3)]],
  ];
  for (const [name, draw] of draws) {
    for (const count of [2, 3, 10, 200]) {
      const scores = Float32Array.from({ length: count }, draw);
      const labels = labelsOf(count, random);
      labels[0] = 0;
      labels[1] = 1;
      const [given, expected] = [auc(scores, labels), pairCount(scores, labels)];
      assert.ok(Math.abs(given - expected) < 1e-12, `${name}, ${count} scores: ${given}, by pairs ${expected}`);
    }
  }
});

Deno.test("AUC of a known order", () => {
  assert.equal(auc(Float32Array.of(1, 2, 3, 4), Uint8Array.of(0, 0, 1, 1)), 1);
  assert.equal(auc(Float32Array.of(4, 3, 2, 1), Uint8Array.of(0, 0, 1, 1)), 0);
  assert.equal(auc(Float32Array.of(1, 2, 3, 4), Uint8Array.of(0, 1, 0, 1)), 0.75);
  assert.equal(auc(Float32Array.of(1, 1), Uint8Array.of(0, 1)), 0.5);
});

Deno.test("AUC is NaN where it is not defined", () => {
  assert.equal(auc(Float32Array.of(1, 2), Uint8Array.of(1, 1)), NaN);
  assert.equal(auc(Float32Array.of(1, 2), Uint8Array.of(0, 0)), NaN);
  assert.equal(auc(new Float32Array(0), new Uint8Array(0)), NaN);
  assert.equal(auc(Float32Array.of(1, NaN, 2), Uint8Array.of(0, 1, 1)), NaN);
  assert.equal(auc(Float32Array.of(1, -NaN, 2), Uint8Array.of(0, 1, 1)), NaN);
});

Deno.test("average precision is the mean precision at the positives, ties taken together", () => {
  const of = (scores: number[], labels: number[]) =>
    averagePrecision(rankingOf(Float32Array.from(scores), Uint8Array.from(labels)));
  assert.equal(of([1, 4, 3.5, 8], [0, 0, 1, 1]), (1 + 2 / 3) / 2); // as scikit-learn has it
  assert.equal(of([4, 3, 2, 1], [1, 1, 0, 0]), 1);
  assert.equal(of([0, -0, 0, 0], [1, 0, 0, 0]), 0.25);
  assert.equal(of([3, 2, 2, 1], [0, 1, 0, 1]), (1 / 3 + 2 / 4) / 2);
  for (const [scores, labels] of [[[1, 2], [0, 0]], [[], []], [[1, NaN], [0, 1]], [[1, -NaN], [0, 1]]]) {
    assert.equal(of(scores, labels), NaN);
  }
});

Deno.test("logloss, accuracy, calibration and normalised entropy by their formulas", () => {
  const random = new Random(2);
  const count = 500;
  const logits = Float32Array.from({ length: count }, () => 3 * random.normal());
  const labels = labelsOf(count, random);
  const p = Float64Array.from(logits, (z) => 1 / (1 + Math.exp(-z)));
  const mean = (value: (i: number) => number) => p.reduce((sum, _, i) => sum + value(i), 0) / count;
  const clicks = mean((i) => labels[i]);
  const logloss = mean((i) => -Math.log(labels[i] === 1 ? p[i] : 1 - p[i]));
  const expected = {
    auc: pairCount(logits, labels),
    logloss,
    accuracy: mean((i) => (p[i] > 0.5) === (labels[i] === 1) ? 1 : 0),
    calibration: mean((i) => p[i]) / clicks,
    ne: logloss / -(clicks * Math.log(clicks) + (1 - clicks) * Math.log(1 - clicks)),
  };
  const given = metricsOf(logits, labels);
  for (const name of Object.keys(expected) as (keyof typeof expected)[]) {
    assert.ok(Math.abs(given[name] - expected[name]) < 1e-9, `${name}: ${given[name]}, expected ${expected[name]}`);
  }
});

Deno.test("always predicting the click rate has calibration and normalised entropy 1", () => {
  const labels = Uint8Array.of(1, 0, 0, 0);
  const { calibration, ne, auc } = metricsOf(new Float32Array(4).fill(Math.log(1 / 3)), labels);
  assert.ok(Math.abs(calibration - 1) < 1e-6);
  assert.ok(Math.abs(ne - 1) < 1e-6);
  assert.equal(auc, 0.5);
});

Deno.test("extreme logits give finite losses", () => {
  const { logloss } = metricsOf(Float32Array.of(1000, -1000), Uint8Array.of(0, 1));
  assert.equal(logloss, 1000);
  assert.equal(metricsOf(Float32Array.of(1000, -1000), Uint8Array.of(1, 0)).logloss, 0);
});

Deno.test("without positives calibration and normalised entropy are NaN", () => {
  const { calibration, ne, logloss, accuracy } = metricsOf(Float32Array.of(-1, -2), Uint8Array.of(0, 0));
  assert.equal(calibration, NaN);
  assert.equal(ne, NaN);
  assert.ok(logloss > 0 && accuracy === 1);
});
