import { HEADER_SAMPLES } from "./codes";
import { expOfNegative, logOfOnePlus } from "./math";

/**
 * Binary cross-entropy on logits (samples): dLogits = (sigmoid(logit) - label) / header.samples; the losses' sum, in
 * double precision, is added to the f32 at lossSum. The loss of one sample is max(z, 0) - z label + ln(1 + e^-|z|).
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
  let sum: f64 = 0;
  for (let i = 0; i < samples; i++) {
    const at = <usize> i << 2;
    const z = <f64> load<f32>(logits + at);
    const label = <f64> load<f32>(labels + at);
    const e = expOfNegative(-abs(z));
    sum += max(z, 0) - z * label + logOfOnePlus(e);
    store<f32>(dLogits + at, <f32> (((z < 0 ? e : 1.0) / (1 + e) - label) * scale));
  }
  store<f32>(lossSum, <f32> (<f64> load<f32>(lossSum) + sum));
}
