import { HEADER_LABEL_SMOOTHING, HEADER_POSITIVE_WEIGHT, HEADER_SAMPLES } from "./codes";
import { expOfNegative, logOfOnePlus } from "./math";

/**
 * Binary cross-entropy on logits (samples): dLogits = (c sigmoid(logit) - w y) / header.samples. The sum of the losses,
 * computed in double precision, is added to the f32 at lossSum. With the weight w of positives and the smoothed label
 * y, the loss of one sample is c max(z, 0) - z w y + c ln(1 + e^-|z|), where c = 1 + (w - 1) y, times the weight of the
 * sample, which its label word has with the label as its sign; 0 is a negative of weight 1.
 */
export function loss(
  samples: i32,
  header: usize,
  logits: usize,
  labels: usize,
  dLogits: usize,
  lossSum: usize,
): void {
  const scale = 1 / <f64> load<u32>(header + HEADER_SAMPLES);
  const extra = <f64> load<f32>(header + HEADER_POSITIVE_WEIGHT);
  const smoothing = <f64> load<f32>(header + HEADER_LABEL_SMOOTHING);
  let sum: f64 = 0;
  for (let i = 0; i < samples; i++) {
    const at = <usize> i << 2;
    const z = <f64> load<f32>(logits + at);
    const word = <f64> load<f32>(labels + at);
    const raw: f64 = word > 0 ? 1 : 0;
    const weight: f64 = word == 0 ? 1 : abs(word);
    const label = raw + smoothing * (0.5 - raw);
    const positive = (1 + extra) * label;
    const both = 1 + extra * label;
    const e = expOfNegative(-abs(z));
    sum += weight * (both * max(z, 0) - z * positive + both * logOfOnePlus(e));
    store<f32>(dLogits + at, <f32> (weight * (both * ((z < 0 ? e : 1.0) / (1 + e)) - positive) * scale));
  }
  store<f32>(lossSum, <f32> (<f64> load<f32>(lossSum) + sum));
}
