import assert from "node:assert/strict";
import { scheduleOf } from "../../src/schedule/learning_rate.ts";

/**
 * The policy of facebookresearch/dlrm written as it is there, a rule with a memory of its last rate. One difference is
 * meant: between warm-up and decay that rule stays at the last rate of the warm-up, one step short of the full rate.
 */
function ratesOfDlrm(rate: number, warmup: number, decayStart: number, decaySteps: number, steps: number): number[] {
  let last = rate;
  return Array.from({ length: steps }, (_, i) => {
    const step = i + 1;
    if (step < warmup) return rate * (1 - (warmup - step) / warmup);
    if (decayStart <= step && step < decayStart + decaySteps) {
      last = Math.max(1e-7, rate * ((decaySteps - (step - decayStart)) / decaySteps) ** 2);
    }
    return decaySteps > 0 ? last : rate;
  });
}

Deno.test("the learning rate over a run, against the policy of facebookresearch/dlrm", () => {
  for (
    const [rate, warmup, decayStart, decaySteps] of [
      [0.1, 0, 0, 0],
      [24, 10, 0, 0],
      [24, 10, 30, 20],
      [1, 10, 10, 25],
      [0.5, 0, 1, 40],
      [1e-4, 5, 8, 50], // falls to the least rate
      [0.3, 1, 20, 1],
      [2, 0, 1000, 10], // never decays
    ]
  ) {
    const plan = {
      learningRate: rate,
      warmupSteps: warmup,
      decayStartStep: decayStart,
      decaySteps,
      decay: "polynomial",
    } as const;
    const expected = ratesOfDlrm(rate, warmup, decayStart, decaySteps, 80);
    expected.forEach((r, i) => {
      const given = scheduleOf(plan)(i + 1);
      assert.ok(Math.abs(given - r) <= 1e-12 * rate, `${JSON.stringify(plan)}, step ${i + 1}: ${given}, expected ${r}`);
    });
  }
});

Deno.test("known points of warm-up and decay", () => {
  const plan = { learningRate: 8, warmupSteps: 4, decayStartStep: 6, decaySteps: 4, decay: "polynomial" } as const;
  const rates = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100].map((step) => scheduleOf(plan)(step));
  assert.deepEqual(rates, [2, 4, 6, 8, 8, 8, 8 * 9 / 16, 2, 0.5, 0.5, 0.5]);
  assert.equal(scheduleOf({ ...plan, learningRate: 1e-7 })(9), 1e-7);
});

Deno.test("the cosine decays as torch.optim.lr_scheduler.CosineAnnealingLR, and then stays", () => {
  const plan = { learningRate: 0.5, warmupSteps: 2, decayStartStep: 4, decaySteps: 10, decay: "cosine" } as const;
  for (let done = 0; done < 14; done++) {
    const expected = 0.5 * (1 + Math.cos(Math.PI * Math.min(done, 9) / 10)) / 2; // PyTorch's closed form, eta_min 0
    const given = scheduleOf(plan)(4 + done);
    assert.ok(Math.abs(given - expected) < 1e-15, `step ${4 + done}: ${given}, expected ${expected}`);
  }
  assert.deepEqual([1, 2, 3].map((step) => scheduleOf(plan)(step)), [0.25, 0.5, 0.5]);
});
