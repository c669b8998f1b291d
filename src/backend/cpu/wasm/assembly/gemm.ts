// Matrix products for linear layers. The right operand is packed into panels of 8 columns, [panel][k][8], so that the
// inner loop reads it sequentially; the left operand is read row by row in place. Blocks of BLOCK_K x BLOCK_N keep the
// panels in the second-level cache and the six current rows in the first.
import { biasActivation } from "./activation";
import { RELU, SIGMOID } from "./codes";
import { copyWords } from "./copy";

const BLOCK_K: i32 = 256;
const BLOCK_N: i32 = 512;
const BLOCK_M: i32 = 48;

/** Bytes of one 6 x 8 tile. */
export const TILE_BYTES: usize = 6 * 8 * 4;
/** Floor of a product without a lower bound. */
export const NO_FLOOR: f32 = -Infinity;

const START_ROW_BYTES: usize = BLOCK_N * 4;
const PANELS_BYTES: usize = BLOCK_K * BLOCK_N * 4;
/** Gap after each row of a transposed block. Without it all rows would map to a few sets of the cache. */
const ROW_GAP_BYTES: usize = 64;
const TRANSPOSED_BYTES: usize = BLOCK_M * (BLOCK_K * 4 + ROW_GAP_BYTES);

/** Scratch that each thread needs for matrix products of any shape. */
export function gemmScratchBytes(): u32 {
  return <u32> (TILE_BYTES + START_ROW_BYTES + PANELS_BYTES + TRANSPOSED_BYTES);
}

/** y (samples, outputs) = activation(x (samples, inputs) weight (outputs, inputs)ᵀ + bias (outputs)). */
export function linear(
  samples: i32,
  inputs: i32,
  outputs: i32,
  activation: i32,
  x: usize,
  weight: usize,
  bias: usize,
  y: usize,
  scratch: usize,
): void {
  const floor: f32 = activation == RELU ? 0 : NO_FLOOR;
  gemm(false, true, samples, outputs, inputs, x, weight, y, bias, floor, scratch);
  if (activation == SIGMOID) biasActivation(samples, outputs, activation, 0, y);
}

/** dX (samples, inputs) = dY (samples, outputs) weight (outputs, inputs). */
export function linearInputGradient(
  samples: i32,
  inputs: i32,
  outputs: i32,
  dY: usize,
  weight: usize,
  dX: usize,
  scratch: usize,
): void {
  gemm(false, false, samples, inputs, outputs, dY, weight, dX, 0, NO_FLOOR, scratch);
}

/** dWeight (outputs, inputs) = dY (samples, outputs)ᵀ x (samples, inputs). */
export function linearWeightGradient(
  samples: i32,
  inputs: i32,
  outputs: i32,
  dY: usize,
  x: usize,
  dWeight: usize,
  scratch: usize,
): void {
  gemm(true, false, outputs, inputs, samples, dY, x, dWeight, 0, NO_FLOOR, scratch);
}

/**
 * c (m, n) = max(op(a) op(b) + row, floor), where op(a) is (m, k) and op(b) is (k, n). `row` (n) is zero if its address
 * is 0. A transposed operand is stored as (k, m) or (n, k).
 */
function gemm(
  transposeA: bool,
  transposeB: bool,
  m: i32,
  n: i32,
  k: i32,
  a: usize,
  b: usize,
  c: usize,
  row: usize,
  floor: f32,
  scratch: usize,
): void {
  const tile = scratch;
  const startRow = tile + TILE_BYTES;
  const panels = startRow + START_ROW_BYTES;
  const transposed = panels + PANELS_BYTES;
  const strideA = <usize> (transposeA ? m : k) << 2;
  const strideB = <usize> (transposeB ? k : n) << 2;
  const strideC = <usize> n << 2;
  const depth = evenBlock(k, BLOCK_K);

  for (let j = 0; j < n; j += BLOCK_N) {
    const columns = min(BLOCK_N, n - j);
    const columnBytes = <usize> columns << 2;
    memory.fill(startRow, 0, roundUp(columnBytes, 32));
    if (row) memory.copy(startRow, row + (<usize> j << 2), columnBytes);

    // Runs once even for k = 0, which writes the start row: a rank without samples has zero gradients.
    let p = 0;
    do {
      const terms = min(depth, k - p);
      const last = p + terms == k;
      if (transposeB) {
        packTransposed(terms, columns, b + <usize> j * strideB + (<usize> p << 2), strideB, panels);
      } else {
        packPanels(terms, columns, b + <usize> p * strideB + (<usize> j << 2), strideB, panels);
      }
      const step = transposeA ? BLOCK_M : m;
      for (let i = 0; i < m; i += step) {
        const rows = min(step, m - i);
        let left = a + <usize> i * strideA + (<usize> p << 2);
        let strideLeft = strideA;
        if (transposeA) {
          strideLeft = (<usize> terms << 2) + ROW_GAP_BYTES;
          transpose(terms, rows, a + <usize> p * strideA + (<usize> i << 2), strideA, transposed, strideLeft);
          left = transposed;
        }
        const target = c + <usize> i * strideC + (<usize> j << 2);
        multiply(
          rows,
          columns,
          terms,
          left,
          strideLeft,
          panels,
          target,
          strideC,
          p == 0 ? startRow : target,
          p == 0 ? 0 : strideC,
          last ? floor : NO_FLOOR,
          tile,
        );
      }
      p += depth;
    } while (p < k);
  }
}

/**
 * c (m, n) = max(start + a (m, k) panels, floor). Rows of a, c and start are `stride` bytes apart. A start with stride
 * 0 is one row that is added to every row of c, and is read up to the next multiple of 8 columns; any other start must
 * be c itself.
 */
export function multiply(
  m: i32,
  n: i32,
  k: i32,
  a: usize,
  strideA: usize,
  panels: usize,
  c: usize,
  strideC: usize,
  start: usize,
  strideStart: usize,
  floor: f32,
  tile: usize,
): void {
  const panelBytes = <usize> k << 5;
  for (let i = 0; i < m; i += 6) {
    const rows = min(6, m - i);
    let panel = panels;
    for (let j = 0; j < n; j += 8) {
      const columns = n - j;
      const at = <usize> j << 2;
      if (columns >= 8) {
        multiplyTile(rows, k, a, strideA, panel, c + at, strideC, start + at, strideStart, floor);
      } else {
        // A tile that exceeds c on the right is computed in scratch, so that nothing outside c is overwritten.
        const bytes = <usize> columns << 2;
        let tileStart = start + at;
        if (strideStart) {
          for (let r = 0; r < rows; r++) copyWords(tile + (<usize> r << 5), start + at + <usize> r * strideStart, bytes);
          tileStart = tile;
        }
        multiplyTile(rows, k, a, strideA, panel, tile, 32, tileStart, strideStart ? 32 : 0, floor);
        for (let r = 0; r < rows; r++) copyWords(c + at + <usize> r * strideC, tile + (<usize> r << 5), bytes);
      }
      panel += panelBytes;
    }
    a += 6 * strideA;
    c += 6 * strideC;
    start += 6 * strideStart;
  }
}

/**
 * One tile of 6 rows and 8 columns: 12 sums, two words of the panel and one of a occupy 15 of the 16 vector registers.
 * With fewer rows the last row is computed repeatedly and stored at the same address.
 */
function multiplyTile(
  rows: i32,
  k: i32,
  a0: usize,
  strideA: usize,
  panel: usize,
  c0: usize,
  strideC: usize,
  start: usize,
  strideStart: usize,
  floor: f32,
): void {
  const r1: usize = rows > 1 ? 1 : 0;
  const r2: usize = r1 + (rows > 2 ? 1 : 0);
  const r3: usize = r2 + (rows > 3 ? 1 : 0);
  const r4: usize = r3 + (rows > 4 ? 1 : 0);
  const r5: usize = r4 + (rows > 5 ? 1 : 0);
  let a1 = a0 + r1 * strideA;
  let a2 = a0 + r2 * strideA;
  let a3 = a0 + r3 * strideA;
  let a4 = a0 + r4 * strideA;
  let a5 = a0 + r5 * strideA;

  let s = start;
  let x0 = v128.load(s, 0), y0 = v128.load(s, 16);
  s = start + r1 * strideStart;
  let x1 = v128.load(s, 0), y1 = v128.load(s, 16);
  s = start + r2 * strideStart;
  let x2 = v128.load(s, 0), y2 = v128.load(s, 16);
  s = start + r3 * strideStart;
  let x3 = v128.load(s, 0), y3 = v128.load(s, 16);
  s = start + r4 * strideStart;
  let x4 = v128.load(s, 0), y4 = v128.load(s, 16);
  s = start + r5 * strideStart;
  let x5 = v128.load(s, 0), y5 = v128.load(s, 16);

  // Not unrolled by hand: the compiler's own unrolling keeps every sum in a register, manual unrolling does not.
  for (; k > 0; k--) {
    const p = v128.load(panel, 0), q = v128.load(panel, 16);
    let v = v128.load_splat<f32>(a0);
    x0 = f32x4.relaxed_madd(v, p, x0), y0 = f32x4.relaxed_madd(v, q, y0);
    v = v128.load_splat<f32>(a1);
    x1 = f32x4.relaxed_madd(v, p, x1), y1 = f32x4.relaxed_madd(v, q, y1);
    v = v128.load_splat<f32>(a2);
    x2 = f32x4.relaxed_madd(v, p, x2), y2 = f32x4.relaxed_madd(v, q, y2);
    v = v128.load_splat<f32>(a3);
    x3 = f32x4.relaxed_madd(v, p, x3), y3 = f32x4.relaxed_madd(v, q, y3);
    v = v128.load_splat<f32>(a4);
    x4 = f32x4.relaxed_madd(v, p, x4), y4 = f32x4.relaxed_madd(v, q, y4);
    v = v128.load_splat<f32>(a5);
    x5 = f32x4.relaxed_madd(v, p, x5), y5 = f32x4.relaxed_madd(v, q, y5);
    panel += 32;
    a0 += 4;
    a1 += 4;
    a2 += 4;
    a3 += 4;
    a4 += 4;
    a5 += 4;
  }

  const low = f32x4.splat(floor);
  let c = c0;
  v128.store(c, f32x4.pmax(x0, low), 0), v128.store(c, f32x4.pmax(y0, low), 16);
  c = c0 + r1 * strideC;
  v128.store(c, f32x4.pmax(x1, low), 0), v128.store(c, f32x4.pmax(y1, low), 16);
  c = c0 + r2 * strideC;
  v128.store(c, f32x4.pmax(x2, low), 0), v128.store(c, f32x4.pmax(y2, low), 16);
  c = c0 + r3 * strideC;
  v128.store(c, f32x4.pmax(x3, low), 0), v128.store(c, f32x4.pmax(y3, low), 16);
  c = c0 + r4 * strideC;
  v128.store(c, f32x4.pmax(x4, low), 0), v128.store(c, f32x4.pmax(y4, low), 16);
  c = c0 + r5 * strideC;
  v128.store(c, f32x4.pmax(x5, low), 0), v128.store(c, f32x4.pmax(y5, low), 16);
}

/** Packs b (k, n), with rows `stride` bytes apart, into panels; columns beyond n become zero. */
function packPanels(k: i32, n: i32, b: usize, stride: usize, panels: usize): void {
  for (let j = 0; j < n; j += 8) {
    let from = b + (<usize> j << 2);
    if (n - j >= 8) {
      for (let p = 0; p < k; p++) {
        v128.store(panels, v128.load(from, 0), 0);
        v128.store(panels, v128.load(from, 16), 16);
        from += stride;
        panels += 32;
      }
    } else {
      const bytes = <usize> (n - j) << 2;
      memory.fill(panels, 0, <usize> k << 5);
      for (let p = 0; p < k; p++) {
        copyWords(panels, from, bytes);
        from += stride;
        panels += 32;
      }
    }
  }
}

/** Packs the transpose of b (n, k), with rows `stride` bytes apart, into panels; columns beyond n become zero. */
export function packTransposed(k: i32, n: i32, b: usize, stride: usize, panels: usize): void {
  for (let j = 0; j < n; j += 8) {
    if (n - j < 8) memory.fill(panels, 0, <usize> k << 5);
    transpose(min(8, n - j), k, b + <usize> j * stride, stride, panels, 32);
    panels += <usize> k << 5;
  }
}

/** to (columns, rows) = transpose of from (rows, columns); strides in bytes. */
export function transpose(rows: i32, columns: i32, from: usize, strideFrom: usize, to: usize, strideTo: usize): void {
  let i = 0;
  for (; i + 4 <= rows; i += 4) {
    let f0 = from + <usize> i * strideFrom;
    let f1 = f0 + strideFrom;
    let f2 = f1 + strideFrom;
    let f3 = f2 + strideFrom;
    let t = to + (<usize> i << 2);
    let j = 0;
    for (; j + 4 <= columns; j += 4) {
      const u0 = v128.load(f0), u1 = v128.load(f1), u2 = v128.load(f2), u3 = v128.load(f3);
      const low01 = v128.shuffle<f32>(u0, u1, 0, 4, 1, 5);
      const high01 = v128.shuffle<f32>(u0, u1, 2, 6, 3, 7);
      const low23 = v128.shuffle<f32>(u2, u3, 0, 4, 1, 5);
      const high23 = v128.shuffle<f32>(u2, u3, 2, 6, 3, 7);
      v128.store(t, v128.shuffle<f32>(low01, low23, 0, 1, 4, 5));
      t += strideTo;
      v128.store(t, v128.shuffle<f32>(low01, low23, 2, 3, 6, 7));
      t += strideTo;
      v128.store(t, v128.shuffle<f32>(high01, high23, 0, 1, 4, 5));
      t += strideTo;
      v128.store(t, v128.shuffle<f32>(high01, high23, 2, 3, 6, 7));
      t += strideTo;
      f0 += 16;
      f1 += 16;
      f2 += 16;
      f3 += 16;
    }
    for (; j < columns; j++) {
      store<f32>(t, load<f32>(f0), 0);
      store<f32>(t, load<f32>(f1), 4);
      store<f32>(t, load<f32>(f2), 8);
      store<f32>(t, load<f32>(f3), 12);
      t += strideTo;
      f0 += 4;
      f1 += 4;
      f2 += 4;
      f3 += 4;
    }
  }
  for (; i < rows; i++) {
    let f = from + <usize> i * strideFrom;
    let t = to + (<usize> i << 2);
    for (let j = 0; j < columns; j++) {
      store<f32>(t, load<f32>(f));
      t += strideTo;
      f += 4;
    }
  }
}

/** Length of the blocks that divide `total` into the fewest nearly equal parts: even, and at most `most`. */
function evenBlock(total: i32, most: i32): i32 {
  const parts = max(1, (total + most - 1) / most);
  return ((total + parts - 1) / parts + 1) & ~1;
}

/** The next multiple of a power of two. */
export function roundUp(value: usize, multiple: usize): usize {
  return (value + multiple - 1) & ~(multiple - 1);
}
