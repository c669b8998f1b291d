// A product and a sum of vectors, element by element, with a bias: one pass over each operand.

/** y = a (b + bias) + c: bias (width), the others (samples, width). */
export function multiplyAdd(samples: i32, width: i32, a: usize, b: usize, bias: usize, c: usize, y: usize): void {
  const bytes = <usize> width << 2;
  const vectorEnd = bytes & ~15;
  for (let i = 0; i < samples; i++) {
    let j: usize = 0;
    for (; j < vectorEnd; j += 16) {
      const factor = f32x4.add(v128.load(b + j), v128.load(bias + j));
      v128.store(y + j, f32x4.add(f32x4.mul(v128.load(a + j), factor), v128.load(c + j)));
    }
    for (; j < bytes; j += 4) {
      store<f32>(y + j, load<f32>(a + j) * (load<f32>(b + j) + load<f32>(bias + j)) + load<f32>(c + j));
    }
    a += bytes;
    b += bytes;
    c += bytes;
    y += bytes;
  }
}

/**
 * dA = (b + bias) dY, dB = a dY, dBias (width) = the column sums of dB, added row by row, and dC = dY, or no dC at address
 * 0. addsA and addsC: adds to what dA or dC holds, after the other was overwritten. dA, dC and dY may be the same.
 */
export function multiplyAddBackward(
  samples: i32,
  width: i32,
  a: usize,
  b: usize,
  bias: usize,
  dY: usize,
  addsA: bool,
  dA: usize,
  dB: usize,
  dBias: usize,
  addsC: bool,
  dC: usize,
): void {
  const bytes = <usize> width << 2;
  const vectorEnd = bytes & ~15;
  const hasC = dC != 0;
  memory.fill(dBias, 0, bytes);
  for (let i = 0; i < samples; i++) {
    let j: usize = 0;
    for (; j < vectorEnd; j += 16) {
      const gradient = v128.load(dY + j);
      const ofB = f32x4.mul(v128.load(a + j), gradient);
      v128.store(dB + j, ofB);
      v128.store(dBias + j, f32x4.add(v128.load(dBias + j), ofB));
      if (hasC && !addsC) v128.store(dC + j, gradient);
      let ofA = f32x4.mul(f32x4.add(v128.load(b + j), v128.load(bias + j)), gradient);
      if (addsA) ofA = f32x4.add(v128.load(dA + j), ofA);
      v128.store(dA + j, ofA);
      if (hasC && addsC) v128.store(dC + j, f32x4.add(v128.load(dC + j), gradient));
    }
    for (; j < bytes; j += 4) {
      const gradient = load<f32>(dY + j);
      const ofB = load<f32>(a + j) * gradient;
      store<f32>(dB + j, ofB);
      store<f32>(dBias + j, load<f32>(dBias + j) + ofB);
      if (hasC && !addsC) store<f32>(dC + j, gradient);
      const ofA = (load<f32>(b + j) + load<f32>(bias + j)) * gradient;
      store<f32>(dA + j, addsA ? load<f32>(dA + j) + ofA : ofA);
      if (hasC && addsC) store<f32>(dC + j, load<f32>(dC + j) + gradient);
    }
    a += bytes;
    b += bytes;
    dY += bytes;
    dA += bytes;
    dB += bytes;
    if (hasC) dC += bytes;
  }
}
