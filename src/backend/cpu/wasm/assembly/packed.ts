// Matrix products of a few samples with a weight that was packed once. `gemm.ts` packs the weight for every product,
// which takes longer than the product itself if there are few samples.
import { biasActivation } from "./activation";
import { RELU, SIGMOID } from "./codes";
import { copyWords } from "./copy";
import { multiply, NO_FLOOR, packTransposed, roundUp, TILE_BYTES } from "./gemm";

/** Tiles of `gemm.ts` always compute six rows; up to this number, rows are faster one by one. */
const MAX_SINGLE_ROWS: i32 = 3;

/** Words of a packed weight: panels of 8 outputs, [panel][inputs][8], the last one filled up with zeros. */
export function packedWords(inputs: i32, outputs: i32): i32 {
  return <i32> roundUp(outputs, 8) * inputs;
}

/** Bytes of scratch for products with a packed weight of this number of outputs. */
export function packedScratchBytes(outputs: i32): i32 {
  return <i32> (TILE_BYTES + (roundUp(outputs, 8) << 2));
}

/** Packs weight (outputs, inputs). */
export function packWeight(inputs: i32, outputs: i32, weight: usize, packed: usize): void {
  packTransposed(inputs, outputs, weight, <usize> inputs << 2, packed);
}

/**
 * y (samples, outputs) = activation(x (samples, inputs) weightᵀ + bias (outputs)), with the bits of `linear`: each sum
 * has the same terms in the same order.
 */
export function linearPacked(
  samples: i32,
  inputs: i32,
  outputs: i32,
  activation: i32,
  x: usize,
  packed: usize,
  bias: usize,
  y: usize,
  scratch: usize,
): void {
  const floor: f32 = activation == RELU ? 0 : NO_FLOOR;
  const start = scratch + TILE_BYTES;
  const outputBytes = <usize> outputs << 2;
  memory.fill(start, 0, roundUp(outputBytes, 32));
  if (bias) memory.copy(start, bias, outputBytes);
  const inputBytes = <usize> inputs << 2;
  if (samples <= MAX_SINGLE_ROWS) {
    for (let i = 0; i < samples; i++) {
      multiplyRow(outputs, inputs, x + <usize> i * inputBytes, packed, y + <usize> i * outputBytes, start, floor, scratch);
    }
  } else {
    multiply(samples, outputs, inputs, x, inputBytes, packed, y, outputBytes, start, 0, floor, scratch);
  }
  if (activation == SIGMOID) biasActivation(samples, outputs, activation, 0, y);
}

/** c (n) = max(start (n) + a (k) panels, floor): a row by four panels at a time, so that eight sums hide latencies. */
function multiplyRow(
  n: i32,
  k: i32,
  a: usize,
  panels: usize,
  c: usize,
  start: usize,
  floor: f32,
  tile: usize,
): void {
  const low = f32x4.splat(floor);
  const panelBytes = <usize> k << 5;
  let j = 0;
  for (; j + 32 <= n; j += 32) {
    let p0 = panels, p1 = p0 + panelBytes, p2 = p1 + panelBytes, p3 = p2 + panelBytes;
    let x0 = v128.load(start, 0), y0 = v128.load(start, 16);
    let x1 = v128.load(start, 32), y1 = v128.load(start, 48);
    let x2 = v128.load(start, 64), y2 = v128.load(start, 80);
    let x3 = v128.load(start, 96), y3 = v128.load(start, 112);
    let from = a;
    for (let i = k; i > 0; i--) {
      const v = v128.load_splat<f32>(from);
      x0 = f32x4.relaxed_madd(v, v128.load(p0, 0), x0), y0 = f32x4.relaxed_madd(v, v128.load(p0, 16), y0);
      x1 = f32x4.relaxed_madd(v, v128.load(p1, 0), x1), y1 = f32x4.relaxed_madd(v, v128.load(p1, 16), y1);
      x2 = f32x4.relaxed_madd(v, v128.load(p2, 0), x2), y2 = f32x4.relaxed_madd(v, v128.load(p2, 16), y2);
      x3 = f32x4.relaxed_madd(v, v128.load(p3, 0), x3), y3 = f32x4.relaxed_madd(v, v128.load(p3, 16), y3);
      from += 4;
      p0 += 32;
      p1 += 32;
      p2 += 32;
      p3 += 32;
    }
    v128.store(c, f32x4.pmax(x0, low), 0), v128.store(c, f32x4.pmax(y0, low), 16);
    v128.store(c, f32x4.pmax(x1, low), 32), v128.store(c, f32x4.pmax(y1, low), 48);
    v128.store(c, f32x4.pmax(x2, low), 64), v128.store(c, f32x4.pmax(y2, low), 80);
    v128.store(c, f32x4.pmax(x3, low), 96), v128.store(c, f32x4.pmax(y3, low), 112);
    panels += 4 * panelBytes;
    start += 128;
    c += 128;
  }
  for (; j < n; j += 8) {
    let p = panels;
    let x0 = v128.load(start, 0), y0 = v128.load(start, 16);
    let from = a;
    for (let i = k; i > 0; i--) {
      const v = v128.load_splat<f32>(from);
      x0 = f32x4.relaxed_madd(v, v128.load(p, 0), x0), y0 = f32x4.relaxed_madd(v, v128.load(p, 16), y0);
      from += 4;
      p += 32;
    }
    // Nothing outside c is overwritten.
    const target = n - j < 8 ? tile : c;
    v128.store(target, f32x4.pmax(x0, low), 0), v128.store(target, f32x4.pmax(y0, low), 16);
    if (n - j < 8) copyWords(c, tile, <usize> (n - j) << 2);
    panels += panelBytes;
    start += 32;
    c += 32;
  }
}
