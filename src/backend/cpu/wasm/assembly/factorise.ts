/**
 * y (samples) = the bias, the weights of pooled (samples, tables, dim) at the end of each row and, with degree 2, the
 * products of the factors before them, of all pairs of rows of a sample: each factor times the sum of those before it.
 */
export function factorise(
  degree: i32,
  samples: u32,
  tables: u32,
  dim: u32,
  pooled: usize,
  biasStride: u32,
  bias: usize,
  y: usize,
): void {
  const rowBytes = <usize> dim << 2;
  const weightAt = rowBytes - 4;
  const vectorEnd = degree == 2 ? weightAt & ~15 : 0;
  const factorEnd = degree == 2 ? weightAt : 0;
  for (let s: u32 = 0; s < samples; s++) {
    const first = pooled + <usize> s * tables * rowBytes;
    const end = first + tables * rowBytes;
    let sums = f32x4.splat(0);
    let i: usize = 0;
    for (; i < vectorEnd; i += 16) {
      let before = f32x4.splat(0);
      for (let row = first; row < end; row += rowBytes) {
        const factors = v128.load(row + i);
        sums = f32x4.add(sums, f32x4.mul(before, factors));
        before = f32x4.add(before, factors);
      }
    }
    let sum = f32x4.extract_lane(sums, 0) + f32x4.extract_lane(sums, 1) + f32x4.extract_lane(sums, 2) +
      f32x4.extract_lane(sums, 3);
    for (; i < factorEnd; i += 4) {
      let before: f32 = 0;
      for (let row = first; row < end; row += rowBytes) {
        const factor = load<f32>(row + i);
        sum += before * factor;
        before += factor;
      }
    }
    sum += load<f32>(bias + (<usize> s * biasStride << 2));
    for (let row = first; row < end; row += rowBytes) sum += load<f32>(row + weightAt);
    store<f32>(y + (<usize> s << 2), sum);
  }
}

/**
 * Gradients of `factorise` from dY (samples): dPooled (samples, tables, dim) is dY times the sum of the factors of the
 * other rows, or 0 with degree 1, and dY for weights. dBias (samples) = dY, unless its address is 0.
 */
export function factoriseBackward(
  degree: i32,
  samples: u32,
  tables: u32,
  dim: u32,
  pooled: usize,
  dY: usize,
  dPooled: usize,
  dBias: usize,
): void {
  const rowBytes = <usize> dim << 2;
  const weightAt = rowBytes - 4;
  const vectorEnd = weightAt & ~15;
  for (let s: u32 = 0; s < samples; s++) {
    const offset = <usize> s * tables * rowBytes;
    const end = offset + tables * rowBytes;
    const gradient = load<f32>(dY + (<usize> s << 2));
    const gradients = f32x4.splat(gradient);
    let i: usize = 0;
    for (; i < vectorEnd; i += 16) {
      let total = f32x4.splat(0);
      if (degree == 2) {
        for (let row = offset; row < end; row += rowBytes) total = f32x4.add(total, v128.load(pooled + row + i));
      }
      for (let row = offset; row < end; row += rowBytes) {
        const others = degree == 2
          ? f32x4.mul(gradients, f32x4.sub(total, v128.load(pooled + row + i)))
          : f32x4.splat(0);
        v128.store(dPooled + row + i, others);
      }
    }
    for (; i < weightAt; i += 4) {
      let total: f32 = 0;
      if (degree == 2) for (let row = offset; row < end; row += rowBytes) total += load<f32>(pooled + row + i);
      for (let row = offset; row < end; row += rowBytes) {
        store<f32>(dPooled + row + i, degree == 2 ? gradient * (total - load<f32>(pooled + row + i)) : 0);
      }
    }
    for (let row = offset; row < end; row += rowBytes) store<f32>(dPooled + row + weightAt, gradient);
    if (dBias != 0) store<f32>(dBias + (<usize> s << 2), gradient);
  }
}
