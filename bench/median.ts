/** The median. On a shared machine a few steps take many times as long, which would dominate a mean. */
export function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
}
