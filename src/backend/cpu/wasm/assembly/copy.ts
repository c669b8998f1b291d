/**
 * Copies `bytes` bytes, a multiple of 4; source and target do not overlap. memory.copy is a call out of the module,
 * which costs more than copying a short row in this loop.
 */
export function copyWords(to: usize, from: usize, bytes: usize): void {
  let j: usize = 0;
  for (; j + 64 <= bytes; j += 64) {
    const v0 = v128.load(from + j, 0), v1 = v128.load(from + j, 16);
    const v2 = v128.load(from + j, 32), v3 = v128.load(from + j, 48);
    v128.store(to + j, v0, 0);
    v128.store(to + j, v1, 16);
    v128.store(to + j, v2, 32);
    v128.store(to + j, v3, 48);
  }
  for (; j + 16 <= bytes; j += 16) v128.store(to + j, v128.load(from + j));
  for (; j < bytes; j += 4) store<f32>(to + j, load<f32>(from + j));
}
