/** Where the rows of a model are in a dataset that grew from its encoding. */
import type { RowGrowth } from "../embedding/stores/row_numbers.ts";
import type { DatasetEncoding } from "../dataset/dataset_encoding.ts";
import { grownSizes, growsFrom, historyOf } from "../dataset/encoding.ts";
import { readHistory } from "../dataset/row_history.ts";

/** The growth from an encoding to that of a dataset; undefined if all rows are where they were. */
export function rowGrowth(before: DatasetEncoding, dataset: DatasetEncoding): RowGrowth | undefined {
  if (!growsFrom(before, dataset)) return undefined;
  const kept: { from: number; row: number; rows: number }[] = [];
  const keep = (from: number, row: number, rows: number) => {
    const last = kept.at(-1);
    if (last !== undefined && from === last.from + last.rows && row === last.row + last.rows) last.rows += rows;
    else kept.push({ from, row, rows });
  };
  for (const [t, { before: rows, dropped }] of grownSizes(dataset)!.tables.entries()) {
    const [from, row] = [before.firstRows[t], dataset.firstRows[t]];
    if (dropped === 0) {
      keep(from, row, rows);
      continue;
    }
    keep(from, row, 1);
    const [old, now] = [before, dataset].map((of) => readHistory(historyOf(of, t)).numbers);
    for (let i = 0, k = 0; k < rows - 1 - dropped; i++) if (old[i] === now[k]) keep(from + 1 + i, row + 1 + k++, 1);
  }
  const [first] = kept;
  const isSame = kept.length <= 1 && (first?.rows ?? 0) === before.rows && before.rows === dataset.rows;
  return isSame ? undefined : { kept, dropped: dataset.body.tables.map((table) => table.dropped ?? 0) };
}
