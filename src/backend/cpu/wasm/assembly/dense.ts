import { ADAGRAD_EPSILON, ADAM, HEADER_LEARNING_RATE, HEADER_OPTIMIZER, SGD } from "./codes";

/** Updates `words` weights, which are dense parameters or one embedding row, with the rates in the header. */
export function updateWeights(
  optimizer: i32,
  words: u32,
  header: usize,
  parameters: usize,
  gradients: usize,
  state: usize,
): void {
  const rate = load<f32>(header + HEADER_LEARNING_RATE);
  if (optimizer == SGD) descend(words, rate, parameters, gradients);
  else if (optimizer == ADAM) adam(words, header + HEADER_OPTIMIZER, parameters, gradients, state);
  else adagrad(words, rate, parameters, gradients, state);
}

/** parameters -= rate * gradients. */
export function descend(words: u32, rate: f32, parameters: usize, gradients: usize): void {
  const bytes = <usize> words << 2;
  const vectorEnd = bytes & ~15;
  const minusRate = f32x4.splat(-rate);
  let i: usize = 0;
  for (; i < vectorEnd; i += 16) {
    v128.store(
      parameters + i,
      f32x4.relaxed_madd(minusRate, v128.load(gradients + i), v128.load(parameters + i)),
    );
  }
  for (; i < bytes; i += 4) {
    store<f32>(parameters + i, load<f32>(parameters + i) - rate * load<f32>(gradients + i));
  }
}

/** state += gradients², parameters -= rate * gradients / (sqrt(state) + epsilon). */
export function adagrad(words: u32, rate: f32, parameters: usize, gradients: usize, state: usize): void {
  const bytes = <usize> words << 2;
  const vectorEnd = bytes & ~15;
  const rates = f32x4.splat(rate);
  const epsilon = f32x4.splat(ADAGRAD_EPSILON);
  let i: usize = 0;
  for (; i < vectorEnd; i += 16) {
    const gradient = v128.load(gradients + i);
    const squares = f32x4.relaxed_madd(gradient, gradient, v128.load(state + i));
    v128.store(state + i, squares);
    const change = f32x4.div(f32x4.mul(rates, gradient), f32x4.add(f32x4.sqrt(squares), epsilon));
    v128.store(parameters + i, f32x4.sub(v128.load(parameters + i), change));
  }
  for (; i < bytes; i += 4) {
    const gradient = load<f32>(gradients + i);
    const squares = load<f32>(state + i) + gradient * gradient;
    store<f32>(state + i, squares);
    const change = (rate * gradient) / (sqrt(squares) + ADAGRAD_EPSILON);
    store<f32>(parameters + i, load<f32>(parameters + i) - change);
  }
}

/**
 * One step of Adam with the rates of src/optimizer/adam.ts. `state` holds mean and mean square of each parameter,
 * interleaved.
 */
function adam(words: u32, rates: usize, parameters: usize, gradients: usize, state: usize): void {
  const stepSize = load<f32>(rates, 0), rootCorrection = load<f32>(rates, 4);
  const meanGain = load<f32>(rates, 8), squareGain = load<f32>(rates, 12);
  const epsilon = load<f32>(rates, 16), l2 = load<f32>(rates, 20), left = load<f32>(rates, 24);
  const bytes = <usize> words << 2;
  const vectorEnd = bytes & ~15;
  let i: usize = 0;
  for (; i < vectorEnd; i += 16) {
    const low = v128.load(state + 2 * i), high = v128.load(state + 2 * i, 16);
    const weight = v128.load(parameters + i);
    const g = f32x4.add(v128.load(gradients + i), f32x4.mul(f32x4.splat(l2), weight));
    let mean = v128.shuffle<f32>(low, high, 0, 2, 4, 6);
    let square = v128.shuffle<f32>(low, high, 1, 3, 5, 7);
    mean = f32x4.add(mean, f32x4.mul(f32x4.splat(meanGain), f32x4.sub(g, mean)));
    square = f32x4.add(square, f32x4.mul(f32x4.splat(squareGain), f32x4.sub(f32x4.mul(g, g), square)));
    v128.store(state + 2 * i, v128.shuffle<f32>(mean, square, 0, 4, 1, 5));
    v128.store(state + 2 * i, v128.shuffle<f32>(mean, square, 2, 6, 3, 7), 16);
    const root = f32x4.add(f32x4.mul(f32x4.sqrt(square), f32x4.splat(rootCorrection)), f32x4.splat(epsilon));
    const change = f32x4.div(f32x4.mul(f32x4.splat(stepSize), mean), root);
    v128.store(parameters + i, f32x4.sub(f32x4.mul(f32x4.splat(left), weight), change));
  }
  for (; i < bytes; i += 4) {
    const weight = load<f32>(parameters + i);
    const g = load<f32>(gradients + i) + l2 * weight;
    let mean = load<f32>(state + 2 * i, 0), square = load<f32>(state + 2 * i, 4);
    mean += meanGain * (g - mean);
    square += squareGain * (g * g - square);
    store<f32>(state + 2 * i, mean, 0);
    store<f32>(state + 2 * i, square, 4);
    store<f32>(parameters + i, left * weight - stepSize * mean / (sqrt(square) * rootCorrection + epsilon));
  }
}

/** target (words) += source (words). */
export function add(words: u32, source: usize, target: usize): void {
  const bytes = <usize> words << 2;
  const vectorEnd = bytes & ~15;
  let i: usize = 0;
  for (; i < vectorEnd; i += 16) v128.store(target + i, f32x4.add(v128.load(target + i), v128.load(source + i)));
  for (; i < bytes; i += 4) store<f32>(target + i, load<f32>(target + i) + load<f32>(source + i));
}

/** x (words) *= factor. */
export function scale(words: u32, factor: f32, x: usize): void {
  const bytes = <usize> words << 2;
  const vectorEnd = bytes & ~15;
  const factors = f32x4.splat(factor);
  let i: usize = 0;
  for (; i < vectorEnd; i += 16) v128.store(x + i, f32x4.mul(factors, v128.load(x + i)));
  for (; i < bytes; i += 4) store<f32>(x + i, factor * load<f32>(x + i));
}

/** The sum of the squares of x (words). */
export function squares(words: u32, x: usize): f64 {
  const bytes = <usize> words << 2;
  const vectorEnd = bytes & ~15;
  let s0 = f64x2.splat(0), s1 = s0;
  let i: usize = 0;
  for (; i < vectorEnd; i += 16) {
    const v = v128.load(x + i);
    const low = f64x2.promote_low_f32x4(v);
    const high = f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 0, 1));
    s0 = f64x2.add(s0, f64x2.mul(low, low));
    s1 = f64x2.add(s1, f64x2.mul(high, high));
  }
  s0 = f64x2.add(s0, s1);
  let sum = f64x2.extract_lane(s0, 0) + f64x2.extract_lane(s0, 1);
  for (; i < bytes; i += 4) {
    const value = <f64> load<f32>(x + i);
    sum += value * value;
  }
  return sum;
}
