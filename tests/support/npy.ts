/** Bytes of a NumPy array (rows, columns), or (rows) as a vector, of int32 or float64, row-major or column-major. */
export function npy(
  rows: readonly (readonly number[])[],
  { vector = false, double = false, fortran = false } = {},
): Uint8Array {
  const shape = vector ? `(${rows.length},)` : `(${rows.length}, ${rows[0].length})`;
  const order = fortran ? "True" : "False";
  const header = `{'descr': '${double ? "<f8" : "<i4"}', 'fortran_order': ${order}, 'shape': ${shape}, }`.padEnd(117);
  const values = fortran ? rows[0].flatMap((_, i) => rows.map((row) => row[i])) : rows.flat();
  const data = new Uint8Array((double ? Float64Array : Int32Array).from(values).buffer);
  const file = new Uint8Array(128 + data.length);
  file.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, 118, 0]);
  file.set(new TextEncoder().encode(header + "\n"), 10);
  file.set(data, 128);
  return file;
}
