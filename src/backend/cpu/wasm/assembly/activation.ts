// Bias and activation after a matrix product, and their gradients before it.
import { RELU, SIGMOID } from "./codes";
import { sigmoid } from "./math";

/** y (rows, columns) = activation(y + bias (columns)), in place; a bias at address 0 is zero. */
export function biasActivation(rows: i32, columns: i32, activation: i32, bias: usize, y: usize): void {
  const bytes = <usize> columns << 2;
  if (bias) {
    const floor: f32 = activation == RELU ? 0 : -Infinity;
    let at = y, i = 0;
    // Four rows at a time, so that the bias is read less often.
    for (; i + 4 <= rows; i += 4, at += bytes << 2) addBias4(bytes, floor, bias, at);
    for (; i < rows; i++, at += bytes) addBias(0, bytes, floor, bias, at);
  }
  if (activation == SIGMOID) {
    for (const end = y + <usize> rows * bytes; y < end; y += 4) store<f32>(y, <f32> sigmoid(load<f32>(y)));
  }
}

/** y = max(y + bias, floor) of four rows of `bytes` bytes. */
function addBias4(bytes: usize, floor: f32, bias: usize, y: usize): void {
  const low = f32x4.splat(floor);
  const second = y + bytes, third = second + bytes, fourth = third + bytes;
  let j: usize = 0;
  for (; j + 16 <= bytes; j += 16) {
    const b = v128.load(bias + j);
    v128.store(y + j, f32x4.pmax(f32x4.add(v128.load(y + j), b), low));
    v128.store(second + j, f32x4.pmax(f32x4.add(v128.load(second + j), b), low));
    v128.store(third + j, f32x4.pmax(f32x4.add(v128.load(third + j), b), low));
    v128.store(fourth + j, f32x4.pmax(f32x4.add(v128.load(fourth + j), b), low));
  }
  for (let row = 0; row < 4; row++, y += bytes) addBias(j, bytes, floor, bias, y);
}

/** The same of a row, from a column on. */
function addBias(from: usize, bytes: usize, floor: f32, bias: usize, y: usize): void {
  const low = f32x4.splat(floor);
  let j = from;
  for (; j + 16 <= bytes; j += 16) {
    v128.store(y + j, f32x4.pmax(f32x4.add(v128.load(y + j), v128.load(bias + j)), low));
  }
  for (; j < bytes; j += 4) {
    const sum = load<f32>(y + j) + load<f32>(bias + j);
    store<f32>(y + j, sum < floor ? floor : sum);
  }
}

/**
 * dY (rows, columns) *= activation'(y), where y is the output of the activation. dBias (columns) = the column sums of
 * the new dY, added row by row.
 */
export function activationBackward(
  rows: i32,
  columns: i32,
  activation: i32,
  y: usize,
  dY: usize,
  dBias: usize,
): void {
  const bytes = <usize> columns << 2;
  memory.fill(dBias, 0, bytes);
  if (activation != RELU && activation != SIGMOID) return addRows(rows, bytes, dY, dBias);
  for (let i = 0; i < rows; i++) {
    if (activation == RELU) reluRow(bytes, y, dY, dBias);
    else sigmoidRow(bytes, y, dY, dBias);
    y += bytes;
    dY += bytes;
  }
}

function reluRow(bytes: usize, y: usize, dY: usize, dBias: usize): void {
  const zero = f32x4.splat(0);
  const vectorEnd = bytes & ~15;
  let j: usize = 0;
  for (; j < vectorEnd; j += 16) {
    const gradient = v128.andnot(v128.load(dY + j), f32x4.le(v128.load(y + j), zero));
    v128.store(dY + j, gradient);
    v128.store(dBias + j, f32x4.add(v128.load(dBias + j), gradient));
  }
  for (; j < bytes; j += 4) {
    const gradient: f32 = load<f32>(y + j) <= 0 ? 0 : load<f32>(dY + j);
    store<f32>(dY + j, gradient);
    store<f32>(dBias + j, load<f32>(dBias + j) + gradient);
  }
}

function sigmoidRow(bytes: usize, y: usize, dY: usize, dBias: usize): void {
  const one = f32x4.splat(1);
  const vectorEnd = bytes & ~15;
  let j: usize = 0;
  for (; j < vectorEnd; j += 16) {
    const s = v128.load(y + j);
    const gradient = f32x4.mul(v128.load(dY + j), f32x4.mul(s, f32x4.sub(one, s)));
    v128.store(dY + j, gradient);
    v128.store(dBias + j, f32x4.add(v128.load(dBias + j), gradient));
  }
  for (; j < bytes; j += 4) {
    const s = load<f32>(y + j);
    const gradient = load<f32>(dY + j) * (s * (1 - s));
    store<f32>(dY + j, gradient);
    store<f32>(dBias + j, load<f32>(dBias + j) + gradient);
  }
}

/** dBias += the rows of dY, one after the other; four at a time, so that dBias is read and written less often. */
function addRows(rows: i32, bytes: usize, dY: usize, dBias: usize): void {
  const vectorEnd = bytes & ~15;
  let i = 0;
  for (; i + 4 <= rows; i += 4) {
    const second = dY + bytes;
    const third = second + bytes;
    const fourth = third + bytes;
    let j: usize = 0;
    for (; j < vectorEnd; j += 16) {
      const two = f32x4.add(f32x4.add(v128.load(dBias + j), v128.load(dY + j)), v128.load(second + j));
      v128.store(dBias + j, f32x4.add(f32x4.add(two, v128.load(third + j)), v128.load(fourth + j)));
    }
    for (; j < bytes; j += 4) {
      const two = load<f32>(dBias + j) + load<f32>(dY + j) + load<f32>(second + j);
      store<f32>(dBias + j, two + load<f32>(third + j) + load<f32>(fourth + j));
    }
    dY = fourth + bytes;
  }
  for (; i < rows; i++) {
    let j: usize = 0;
    for (; j < vectorEnd; j += 16) v128.store(dBias + j, f32x4.add(v128.load(dBias + j), v128.load(dY + j)));
    for (; j < bytes; j += 4) store<f32>(dBias + j, load<f32>(dBias + j) + load<f32>(dY + j));
    dY += bytes;
  }
}
