import { ADAGRAD_EPSILON, HEADER_LEARNING_RATE, SGD } from "./codes";

/** Updates `words` parameters from their gradients; the learning rate comes from the header. */
export function updateDense(
  optimizer: i32,
  words: u32,
  header: usize,
  parameters: usize,
  gradients: usize,
  state: usize,
): void {
  const rate = load<f32>(header + HEADER_LEARNING_RATE);
  if (optimizer == SGD) descend(words, rate, parameters, gradients);
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

/** target (words) += source (words). */
export function add(words: u32, source: usize, target: usize): void {
  const bytes = <usize> words << 2;
  const vectorEnd = bytes & ~15;
  let i: usize = 0;
  for (; i < vectorEnd; i += 16) v128.store(target + i, f32x4.add(v128.load(target + i), v128.load(source + i)));
  for (; i < bytes; i += 4) store<f32>(target + i, load<f32>(target + i) + load<f32>(source + i));
}
