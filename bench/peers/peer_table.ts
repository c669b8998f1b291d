/** The table that compares Hotset with PyTorch. */
import { median } from "../median.ts";

/** Precision of matrix products. */
export type Precision = "fp32" | "bf16";

/** A way to run PyTorch. */
export interface Peer {
  readonly compile: boolean;
  readonly precision: Precision;
}

/** All ways to run PyTorch, in the order of the table. */
export const PEERS: readonly Peer[] = (["fp32", "bf16"] as const).flatMap((precision) =>
  [false, true].map((compile) => ({ compile, precision }))
);

/** Samples/s of both sides over the rounds, and the most that each side's products of matrices would allow. */
export interface Row {
  /** Model, batch size and optimizer. */
  readonly title: string;
  /** What of Hotset ran. */
  readonly way: string;
  readonly precision: Precision;
  readonly hotset: readonly number[];
  readonly eager: readonly number[];
  readonly compiled: readonly number[];
  readonly hotsetLimit: number;
  readonly peerLimit: number;
}

const HEAD = [
  ...["model, batch, optimizer", "precision", "PyTorch eager", "compiled", "of its limit", "Hotset", "samples/s"],
  ...["of its limit", "ratio to the better (rounds)"],
];

/** The table in Markdown. */
export function tableText(rows: readonly Row[]): string {
  const lines = [HEAD, HEAD.map((_, column) => [0, 1, 5].includes(column) ? "---" : "---:"), ...rows.map(cells)];
  return lines.map((line) => `| ${line.join(" | ")} |`).join("\n");
}

function cells(row: Row): string[] {
  const { title, way, precision, hotset, eager, compiled, hotsetLimit, peerLimit } = row;
  const better = median(eager) > median(compiled) ? eager : compiled;
  const ratios = hotset.map((speed, round) => speed / better[round]);
  const [least, most] = [Math.min(...ratios), Math.max(...ratios)].map((ratio) => ratio.toFixed(2));
  const share = (speed: number, limit: number) => `${Math.round(100 * speed / limit)} %`;
  return [
    ...[title, precision, number(median(eager)), number(median(compiled)), share(median(better), peerLimit)],
    ...[way, number(median(hotset)), share(median(hotset), hotsetLimit)],
    `${median(ratios).toFixed(2)} (${least} to ${most})`,
  ];
}

function number(value: number): string {
  return Math.round(value).toLocaleString("en");
}
