/**
 * Draws charts as static SVG: Observable Plot renders over a small DOM when the report is written, so the page needs no
 * script. Colours are CSS variables of the page, so that one drawing serves light mode, dark mode and paper.
 */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { breaks } from "../../breaks.ts";
import { count } from "../../format.ts";

/** Chart widths in CSS pixels, for desktops and phones. The page shows the one that fits. */
const WIDTHS = { wide: 720, narrow: 360 } as const;

// linkedom declares its result as a browser's window, a type that Deno does not have.
const { document } = parseHTML("<!doctype html><html><body></body></html>") as unknown as { document: never };

/** One chart as SVG text. `label` describes it for screen readers. */
export function drawSvg(label: string, options: Plot.PlotOptions): string {
  const drawn = Plot.plot({ document, ariaLabel: label, style: { background: "none", fontSize: "12px" }, ...options });
  const svg = (drawn as unknown as { outerHTML: string }).outerHTML;
  // Numbers inside tags are coordinates, for which a hundredth of a pixel is enough.
  return svg.replace(/(\.\d\d)\d+(?=[^<>]*>)/g, "$1").replace("<svg ", '<svg role="img" ');
}

/**
 * Draws a chart at both widths; `options` receives the width in pixels and whether it is the narrow one. The event loop
 * turns before each drawing.
 */
export async function drawChart(
  label: string,
  options: (width: number, narrow: boolean) => Plot.PlotOptions,
): Promise<string> {
  const drawn: string[] = [];
  for (const [name, width] of Object.entries(WIDTHS)) {
    if (breaks.due) await breaks.take();
    drawn.push(`<div class="${name}">${drawSvg(label, { width, ...options(width, name === "narrow") })}</div>`);
  }
  return drawn.join("\n");
}

/** Margins of a chart with axes on the left and below. */
export const FRAME = { marginTop: 16, marginLeft: 48, marginRight: 16, marginBottom: 40 } as const;

/** Draws a chart over the steps of a run, from 0 to `last`; the default height is that of curves. */
export async function drawSteps(
  label: string,
  last: number,
  y: Plot.ScaleOptions,
  marks: Plot.Markish[],
  height?: number,
): Promise<string> {
  return await drawChart(label, (_, narrow) => ({
    ...FRAME,
    height: height ?? (narrow ? 220 : 260),
    x: { domain: [0, last], label: "steps →", labelOffset: 34, ticks: narrow ? 4 : 8, tickFormat: count },
    y: { label: null, grid: true, ...y },
    marks,
  }));
}
