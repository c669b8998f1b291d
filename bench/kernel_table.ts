/** The Markdown tables of docs/cuda.md: single kernels and matrix products, with their limits. */
import { markdownTable } from "../tools/markdown_table.ts";
import type { Limits, Timing } from "./cuda_bench.ts";

/** Occupancy of kernels by entry, on one architecture. */
export interface Occupancies {
  /** Such as "sm_90". */
  readonly architecture: string;
  readonly of: ReadonlyMap<string, string>;
}

/**
 * Reads the second table of kernels/resources.md for a compute capability (90 is 9.0): the newest architecture that is
 * not newer, or the oldest of the table.
 */
export function occupanciesOf(resources: string, capability: number): Occupancies {
  const rows = resources.split("## Occupancy")[1].split("\n").filter((line) => line.startsWith("|"))
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
  const architectures = rows[0].slice(2);
  const older = architectures.findLastIndex((name) => Number(name.slice("sm_".length)) <= capability);
  const column = 2 + Math.max(0, older);
  return { architecture: rows[0][column], of: new Map(rows.slice(2).map((row) => [row[0], row[column]])) };
}

/** Both tables. Times are those of one run, and `limits` were measured in it. */
export function kernelTables(
  name: string,
  limits: Limits,
  timings: readonly Timing[],
  { architecture, of }: Occupancies,
): string {
  const sizes = [...new Set(timings.map(({ batchSize }) => batchSize))];
  const [largest] = sizes.toSorted((a, b) => b - a);
  const times = (name: string) =>
    sizes.flatMap((size) => {
      const timing = timings.find((each) => each.name === name && each.batchSize === size);
      return timing === undefined ? ["", ""] : [microseconds(timing), `${(100 * timing.shareOfLimit).toFixed(0)} %`];
    });
  const timeHeads = sizes.flatMap((size) => [grouped(size), "of the limit"]);
  const table = (heads: string[], all: Timing[], more: (timing: Timing) => string[]) =>
    markdownTable([
      [heads[0], ...timeHeads, ...heads.slice(1)],
      ...all.map((timing) => [`\`${timing.name}\``, ...times(timing.name), ...more(timing)]),
    ]);
  const last = timings.filter(({ batchSize }) => batchSize === largest);
  const copies = (limits.bytesPerSecond / 1e12).toFixed(2);
  const products = Object.entries(limits.flopPerSecond).map(([precision, rate]) =>
    `${precision} ${(rate / 1e12).toFixed(1)}`
  );
  return [
    `${name}. Microseconds. Limits, measured in the same run: copies ${copies} TB/s (bytes read plus bytes written); ` +
    `matrix products in TFLOP/s: ${products.join(", ")}. MB is the minimum to read and write at ${grouped(largest)} ` +
    `samples. Occupancy is that of ${architecture} (kernels/resources.md).`,
    table(
      ["kernel", "MB, minimum", "occupancy"],
      last.filter(({ flops }) => flops === 0),
      ({ bytes, entry }) => [(bytes / 1e6).toFixed(1), of.get(entry ?? "") ?? ""],
    ),
    table(
      ["product", "GFLOP"],
      last.filter(({ flops }) => flops > 0),
      ({ flops }) => [(flops / 1e9).toFixed(2)],
    ),
  ].join("\n\n");
}

function microseconds({ microseconds }: Timing): string {
  return microseconds.toFixed(microseconds < 100 ? 1 : 0);
}

function grouped(value: number): string {
  return value.toLocaleString("en-US");
}
