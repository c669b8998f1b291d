/** Suggests the valid name that a mistyped name resembles. */

/** If more than this share of a name must change, it is another name. */
const MAX_CHANGES = 0.4;

/** `; did you mean "NAME"?` for the most similar name; empty if none is similar. Ignores case and dashes. */
export function didYouMean(given: string, names: readonly string[]): string {
  const plain = (name: string) => name.toLowerCase().replaceAll(/[-_]/g, "");
  const changes = (name: string) => editDistance(plain(given), plain(name));
  const [best] = names.map((name) => ({ name, changes: changes(name) })).sort((a, b) => a.changes - b.changes);
  const close = best !== undefined && best.changes <= MAX_CHANGES * Math.max(given.length, best.name.length);
  return close ? `; did you mean "${best.name}"?` : "";
}

/** The edit distance of two texts: characters to insert, remove or replace. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      next.push(Math.min(next[j] + 1, row[j + 1] + 1, row[j] + Number(a[i] !== b[j])));
    }
    row = next;
  }
  return row[b.length];
}
