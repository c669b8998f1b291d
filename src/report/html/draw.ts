/**
 * Draws charts as static SVG: Observable Plot renders once, here, over a small DOM, and the page needs no script. Colours
 * are CSS variables of the page, so that one drawing serves light, dark and paper.
 */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";

/** Widths that charts are drawn for, in CSS pixels: a column on a desk, and a phone. The page shows the one that fits. */
const WIDTHS = { wide: 720, narrow: 360 } as const;

// linkedom types its result as a browser's window, of which this runtime has no types.
const { document } = parseHTML("<!doctype html><html><body></body></html>") as unknown as { document: never };

/** One chart as SVG text. `label` says to those who cannot see it what it shows. */
export function drawSvg(label: string, options: Plot.PlotOptions): string {
  const drawn = Plot.plot({ document, ariaLabel: label, style: { background: "none" }, ...options });
  const svg = (drawn as unknown as { outerHTML: string }).outerHTML;
  // Numbers inside tags are coordinates; a hundredth of a pixel is enough.
  return svg.replace(/(\.\d\d)\d+(?=[^<>]*>)/g, "$1").replace("<svg ", '<svg role="img" ');
}

/** A chart drawn at both widths; `options` of a width (in pixels) and whether it is the narrow one. */
export function drawChart(label: string, options: (width: number, narrow: boolean) => Plot.PlotOptions): string {
  return Object.entries(WIDTHS).map(([name, width]) => {
    const svg = drawSvg(label, { width, ...options(width, name === "narrow") });
    return `<div class="${name}">${svg}</div>`;
  }).join("\n");
}
