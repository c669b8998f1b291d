/** The middle one of some numbers: on a machine that is shared a few steps take many times as long, and make a mean. */
export function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
}
