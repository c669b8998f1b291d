// Exponential and logarithm in double precision, with an error of about 1e-13. Those of the standard library read
// tables in static memory, which this module does not have.

/** e^x for x <= 0; arguments below -700 are treated as -700. */
export function expOfNegative(x: f64): f64 {
  x = max(x, -700);
  const n = nearest(x * 1.4426950408889634);
  const r = x - n * 0.6931471803691238 - n * 1.9082149292705877e-10;
  // Taylor series for |r| <= ln(2) / 2.
  let p: f64 = 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  return p * reinterpret<f64>((<i64> n + 1023) << 52);
}

/** ln(1 + z) for 0 <= z <= 1, as 2 artanh(z / (2 + z)). The series in squares of at most 1/9 converges quickly. */
export function logOfOnePlus(z: f64): f64 {
  const s = z / (2 + z);
  const q = s * s;
  let p: f64 = 1.0 / 25;
  p = p * q + 1.0 / 23;
  p = p * q + 1.0 / 21;
  p = p * q + 1.0 / 19;
  p = p * q + 1.0 / 17;
  p = p * q + 1.0 / 15;
  p = p * q + 1.0 / 13;
  p = p * q + 1.0 / 11;
  p = p * q + 1.0 / 9;
  p = p * q + 1.0 / 7;
  p = p * q + 1.0 / 5;
  p = p * q + 1.0 / 3;
  p = p * q + 1.0;
  return 2 * s * p;
}

/** 1 / (1 + e^-x), without overflow for any x. */
export function sigmoid(x: f64): f64 {
  const e = expOfNegative(-abs(x));
  return (x < 0 ? e : 1.0) / (1 + e);
}
