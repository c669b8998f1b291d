/** The page of a report: one self-contained HTML file for light and dark mode, phones and paper. */
import { AtomicFile } from "../../storage/atomic_file.ts";

/** Content of a page. All members except the title and the tiles are HTML. */
export interface Page {
  readonly title: string;
  readonly subtitle: string;
  /** The most important numbers, as plain text. */
  readonly tiles: readonly { readonly value: string; readonly label: string }[];
  /** True adds a notice that the data is generated. */
  readonly generated: boolean;
  readonly sections: readonly Section[];
}

/** A section of a page. */
export interface Section {
  readonly title: string;
  /** One or two sentences of HTML. */
  readonly text: string;
  readonly body: string;
}

/** Escapes text for HTML, with non-breaking spaces between numbers and their units. */
export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`)
    .replace(/(\d) (%|[KMGT]?i?B\b)/g, "$1&nbsp;$2");
}

/** A legend of colours: CSS variable and label. */
export function legend(entries: Readonly<Record<string, string>>): string {
  const items = Object.entries(entries).map(([colour, text]) =>
    `<span><i style="background: var(--${colour})"></i>${escape(text)}</span>`
  );
  return `<p class="legend">${items.join("")}</p>`;
}

/** A table of texts whose first column has the names of the rows. */
export function htmlTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[], tag: "th" | "td") =>
    `<tr>${cells.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join("")}</tr>`;
  const body = rows.map((row) => line(row, "td")).join("\n");
  return `<div class="scroll"><table><thead>${line(head, "th")}</thead><tbody>\n${body}\n</tbody></table></div>`;
}

/** Numbers behind a chart, initially hidden. */
export function details(summary: string, html: string): string {
  return `<details><summary>${escape(summary)}</summary>${html}</details>`;
}

const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #f7f6f3; --card: #ffffff; --ink: #1d2129; --muted: #646b78; --line: #e2e0da;
  --hot: #d9480f; --cold: #3873b3; --third: #7a4fb5; --faint: #c9c6be;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14161a; --card: #1d2026; --ink: #e8e6e1; --muted: #9aa1ad; --line: #31353d;
    --hot: #ff8b4d; --cold: #76b0ee; --third: #b797ee; --faint: #4a4f5a;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 56rem; margin: 0 auto; padding: 2rem 1rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 0.25rem; }
p { margin: 0 0 0.75rem; max-width: 44rem; }
header > p { color: var(--muted); margin-top: 0.4rem; overflow-wrap: anywhere; }
.generated { border: 1px solid var(--hot); border-radius: 0.5rem; padding: 0.5rem 0.8rem; color: var(--ink); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: 0.75rem; margin: 1.25rem 0; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 0.6rem; padding: 0.7rem 0.9rem; }
.tiles b { display: block; font-size: 1.4rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--muted); font-size: 0.85rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 0.6rem; padding: 1.1rem; margin: 0 0 1rem; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
.narrow { display: none; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; font-size: 0.85rem; color: var(--muted); margin: 0.4rem 0; }
.legend i { display: inline-block; width: 0.9rem; height: 0.35rem; border-radius: 0.2rem; margin-right: 0.4rem; vertical-align: middle; }
.small-charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 1rem 1.2rem; }
figure { margin: 0; break-inside: avoid; }
figcaption { font-size: 0.8rem; line-height: 1.35; color: var(--muted); overflow-wrap: anywhere; }
figcaption b { color: var(--ink); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { text-align: right; padding: 0.25rem 0.6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { color: var(--muted); font-weight: 600; }
details { margin-top: 0.8rem; }
summary { cursor: pointer; color: var(--muted); font-size: 0.9rem; }
footer { color: var(--muted); font-size: 0.8rem; }
@media (max-width: 36rem) {
  main { padding: 1.2rem 0.6rem 2rem; }
  section { padding: 0.9rem 0.7rem; }
  .wide { display: none; }
  .narrow { display: block; }
  .small-charts { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 0.9rem 0.7rem; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .tiles b { font-size: 1.2rem; }
}
@media print {
  :root {
    --paper: #ffffff; --card: #ffffff; --ink: #000000; --muted: #444444; --line: #cccccc;
    --hot: #c03a00; --cold: #2a5f98; --third: #62399c; --faint: #bbbbbb;
  }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  section { border: none; padding: 0.6rem 0; }
  h2, .legend { break-after: avoid; }
  .wide { display: block; break-inside: avoid; }
  .narrow { display: none; }
  .small-charts { grid-template-columns: repeat(4, 1fr); }
}
`;

const GENERATED = "This data is synthetic: the figures show how Hotset works, not how a product performs.";

/** The complete HTML file; `script` is the only one of a live page. */
export function pageHtml({ title, subtitle, tiles, generated, sections }: Page, script = ""): string {
  const tile = ({ value, label }: Page["tiles"][number]) =>
    `<div><b>${escape(value)}</b><span>${escape(label)}</span></div>`;
  const section = ({ title, text, body }: Section) =>
    `<section>\n<h2>${escape(title)}</h2>\n<p>${text}</p>\n${body}\n</section>`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>
<main>
<header>
<h1>${escape(title)}</h1>
<p>${subtitle}</p>
${generated ? `<p class="generated">${GENERATED}</p>\n` : ""}</header>
<div class="tiles">
${tiles.map(tile).join("\n")}
</div>
${sections.map(section).join("\n")}
<footer>Written by Hotset.</footer>
</main>${script === "" ? "" : `\n<script>${script}</script>`}
</body>
</html>
`;
}

/** Writes a page atomically. Throws HotsetError if the file cannot be written. */
export function writePage(file: string, page: Page): void {
  using target = new AtomicFile(file);
  target.append(new TextEncoder().encode(pageHtml(page)));
  target.commit();
}
