import assert from "node:assert/strict";
import { decilesOf } from "../../src/events/deciles.ts";
import { rankingOf } from "../../src/events/metrics.ts";

const rounded = (value: number) => Number(value.toFixed(6));

Deno.test("deciles are ten parts by ascending prediction, in any order of the samples", () => {
  // 40 samples; decile d has logits near d, and d of its positives are counted below.
  const samples = Array.from(
    { length: 40 },
    (_, i) => ({ logit: Math.floor(i / 4) + (i % 4) / 8, label: i % 4 === 0 }),
  );
  const shuffled = samples.map((_, i) => samples[(i * 7) % 40]);
  const deciles = decilesOf(rankingOf(
    Float32Array.from(shuffled, ({ logit }) => logit),
    Uint8Array.from(shuffled, ({ label }) => label ? 1 : 0),
  ));
  assert.deepEqual(deciles.map(({ share }) => rounded(share)), Array(10).fill(0.1));
  assert.deepEqual(deciles.map(({ observed }) => observed), Array(10).fill(0.25));
  const probabilities = [0, 1 / 8, 2 / 8, 3 / 8].map((logit) => 1 / (1 + Math.exp(-logit)));
  assert.equal(rounded(deciles[0].predicted), rounded(probabilities.reduce((a, b) => a + b) / 4));
  for (let d = 1; d < 10; d++) assert(deciles[d].predicted > deciles[d - 1].predicted);
});

Deno.test("equal predictions stay together, and a weight counts as that many samples", () => {
  const labels = Uint8Array.of(1, 0, 0, 1, 1, 0, 0, 0, 0, 0);
  const [only, ...none] = decilesOf(rankingOf(new Float32Array(10), labels));
  assert.deepEqual([only, none], [{ share: 1, predicted: 0.5, observed: 0.3 }, []]);

  const tied = decilesOf(rankingOf(Float32Array.of(-1, -1, -1, -1, -1, 1, 2, 3, 4, 5), labels));
  assert.deepEqual(tied.map(({ share }) => rounded(share)), [0.5, 0.1, 0.1, 0.1, 0.1, 0.1]);
  assert.equal(tied[0].observed, 0.6);

  const weighted = decilesOf(rankingOf(Float32Array.of(-1, 1, 2), Uint8Array.of(0, 1, 0), Float32Array.of(5, 3, 2)));
  assert.deepEqual(weighted.map(({ share, observed }) => [rounded(share), observed]), [[0.5, 0], [0.3, 1], [0.2, 0]]);
  assert.deepEqual(decilesOf(rankingOf(new Float32Array(0), new Uint8Array(0))), []);
});
