/** The chart of docs/tiers.md: speed by the memory for rows. */
import * as Plot from "@observablehq/plot";
import { percent } from "../../src/format.ts";
import { drawSvg } from "../../src/report/html/draw.ts";

/** Samples/s of a way to train, as a share of those in memory. */
export interface MemoryPoint {
  readonly model: string;
  readonly way: string;
  /** Of the bytes of rows with their state. */
  readonly share: number;
  readonly speed: number;
}

/** For a light and for a dark page: the picture has no page whose colours it could take. */
const INK = "#808590", COLOURS = ["#d9480f", "#3f83cf", "#8a63c7", "#2f9e6e"];
const STYLE = { background: "none", color: INK, fontSize: "13px", fontFamily: "system-ui, sans-serif" } as const;

/** An SVG with one panel a model: a line for the way that was measured within several budgets, points for the others. */
export function memoryPlot(points: readonly MemoryPoint[]): string {
  const ways = [...new Set(points.map(({ way }) => way))];
  const shares = [...new Set(points.map(({ share }) => share))];
  const most = Math.max(...shares);
  const ofFirst = points.filter(({ model }) => model === points[0].model);
  const ends = ofFirst.filter(({ way, share }) =>
    share === most || ofFirst.every((p) => p.way !== way || p.share < most)
  );
  const fx = "model", x = "share", y = "speed", stroke = "way", fill = "way";
  const svg = drawSvg("Speed of training by memory for the rows, compared with training in memory", {
    ...{ width: 860, height: 340, marginLeft: 64, marginRight: 24, marginBottom: 44, style: STYLE },
    fx: { label: null, padding: 0.12 },
    x: {
      type: "log",
      domain: [Math.min(...shares) / 1.3, 1.3],
      ticks: shares,
      tickFormat: short,
      label: "memory for the rows →",
    },
    y: {
      domain: [0, 1.1],
      ticks: 6,
      tickFormat: short,
      grid: true,
      labelAnchor: "center",
      label: "samples/s, of those in memory",
    },
    color: { domain: ways, range: COLOURS },
    marks: [
      Plot.ruleY([1], { stroke: INK, strokeDasharray: "4 3" }),
      Plot.line(points, { fx, x, y, stroke, strokeWidth: 2.5 }),
      Plot.dot(points, { fx, x, y, fill, r: 5 }),
      Plot.text(ends, {
        fx,
        x,
        y,
        fill,
        text: fill,
        textAnchor: "start",
        dx: 12,
        dy: -7,
        filter: (p) => p.share < most,
      }),
      Plot.text(ends, { fx, x, y, fill, text: fill, textAnchor: "end", dy: 18, filter: (p) => p.share === most }),
    ],
  });
  // A file of its own says what it is.
  return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ');
}

function short(share: number): string {
  return percent(share).replace(".0", "");
}
