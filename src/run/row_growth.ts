/** Where the rows of a model are in a dataset that grew from its encoding. */
import type { RowGrowth } from "../embedding/stores/row_numbers.ts";
import type { DatasetEncoding } from "../dataset/dataset_encoding.ts";
import { grownSizes, growsFrom, historyOf } from "../dataset/encoding.ts";
import { readHistory } from "../dataset/row_history.ts";

/** The growth from an encoding to that of a dataset; undefined if all rows are where they were. */
export function rowGrowth(before: DatasetEncoding, dataset: DatasetEncoding): RowGrowth | undefined {
  if (!growsFrom(before, dataset)) return undefined;
  const sizes = grownSizes(dataset)!.tables;
  // Runs begin with tables and end at dropped rows.
  const most = sizes.reduce((sum, { before, dropped }) => sum + 1 + Math.min(dropped, before - dropped), 0);
  const [froms, begins, lengths] = [new Uint32Array(most), new Uint32Array(most), new Uint32Array(most)];
  let runs = 0;
  const keep = (from: number, row: number, rows: number) => {
    const last = runs - 1;
    if (runs > 0 && from === froms[last] + lengths[last] && row === begins[last] + lengths[last]) {
      lengths[last] += rows;
      return;
    }
    froms[runs] = from;
    begins[runs] = row;
    lengths[runs++] = rows;
  };
  for (const [t, { before: rows, dropped }] of sizes.entries()) {
    const [from, row] = [before.firstRows[t], dataset.firstRows[t]];
    if (dropped === 0) {
      keep(from, row, rows);
      continue;
    }
    keep(from, row, 1);
    const [old, now] = [before, dataset].map((of) => readHistory(historyOf(of, t)).numbers);
    for (let i = 0, k = 0; k < rows - 1 - dropped; i++) if (old[i] === now[k]) keep(from + 1 + i, row + 1 + k++, 1);
  }
  const isSame = runs <= 1 && (runs === 0 ? 0 : lengths[0]) === before.rows && before.rows === dataset.rows;
  if (isSame) return undefined;
  const [from, row, rows] = [froms, begins, lengths].map((words) => words.subarray(0, runs));
  return { kept: { from, row, rows }, dropped: dataset.body.tables.map((table) => table.dropped ?? 0) };
}
