/** The report of a profile: the skew of the data, the hot rows, and the effect of other budgets. */
import { basename } from "node:path";
import * as Plot from "@observablehq/plot";
import type { Dataset } from "../../dataset/dataset.ts";
import type { Profile, ProfileBody } from "../../profile/profile.ts";
import { RowCounts } from "../../profile/tally.ts";
import { breaks } from "../../breaks.ts";
import { bytes, count, percent } from "../../format.ts";
import { coverageTable } from "../tables.ts";
import { drawChart, drawSvg } from "./draw.ts";
import { details, escape, htmlTable, legend, type Page, type Section, writePage } from "./page.ts";
import { popularityCurve } from "./popularity.ts";

type ProfileTable = ProfileBody["tables"][number];

/** Maximum number of popularity curves; more would be unreadable. */
const MAX_CURVES = 40;

/**
 * Writes the report of a profile as one HTML file. Throws HotsetError if the profile was made from another dataset or
 * the file cannot be written.
 */
export async function writeProfileReport(profile: Profile, dataset: Dataset, file: string): Promise<void> {
  profile.expectDataset(dataset);
  writePage(file, await profilePage(profile.body, dataset));
}

async function profilePage(body: ProfileBody, dataset: Dataset): Promise<Page> {
  return {
    title: `Popular rows of ${nameOf(dataset)}`,
    subtitle: `${count(dataset.samples("train"))} train samples, ${count(dataset.tables)} tables of ` +
      `${count(body.rows)} rows. Rows of ${body.dim} values with ${body.optimizer} take ` +
      `${count(body.bytesPerRow)} bytes each, ${bytes(body.rows * body.bytesPerRow)} in all. ` +
      (body.sampleRate === 100
        ? "Hot rows were chosen by exact counts."
        : `Hot rows were chosen from ${body.sampleRate} % of the samples; shares are exact.`),
    tiles: [
      { value: bytes(body.hotMemory), label: "budget of the hot rows" },
      { value: percent(body.hotLookupShare), label: "of the lookups hot" },
      { value: aboutPercent(body.hotSampleShare), label: "of the samples all hot" },
      { value: count(body.hotRows), label: `hot rows, ${percent(body.hotRows / body.rows)} of all` },
    ],
    generated: dataset.body.generated !== null,
    sections: await profileSections(body, dataset),
  };
}

/** Name of a dataset: the last part of its directory. */
function nameOf(dataset: Dataset): string {
  return basename(dataset.directory);
}

/** The sections of a page about a profile. */
export async function profileSections(body: ProfileBody, dataset: Dataset): Promise<Section[]> {
  const counts = await RowCounts.of(await dataset.readCounts(), dataset.firstRows);
  return [await coverageSection(body), await tablesSection(body), await popularitySection(body, counts)];
}

async function coverageSection(body: ProfileBody): Promise<Section> {
  const chosen = { hotBytes: body.hotBytes, lookupShare: body.hotLookupShare, sampleShare: body.hotSampleShare };
  const lines = (["lookupShare", "sampleShare"] as const).flatMap((share) => {
    const stroke = share === "lookupShare" ? "var(--hot)" : "var(--cold)";
    const what = share === "lookupShare" ? "lookups" : "samples";
    const title = (point: typeof chosen) => `${bytes(point.hotBytes)}: ${percent(point[share])} of the ${what} hot`;
    return [
      Plot.line(body.coverage, { x: "hotBytes", y: share, stroke, strokeWidth: 2.5 }),
      Plot.dot(body.coverage, { x: "hotBytes", y: share, fill: stroke, r: 3, title }),
      Plot.dot(body.hotBytes > 0 ? [chosen] : [], {
        x: "hotBytes",
        y: share,
        stroke,
        fill: "var(--card)",
        r: 5,
        title,
      }),
    ];
  });
  const [first, last] = [body.coverage[0].hotBytes, body.coverage.at(-1)!.hotBytes];
  const domain = [Math.min(first, body.hotBytes || first), Math.max(last, body.hotBytes)];
  const late = body.hotBytes > Math.sqrt(domain[0] * domain[1]);
  const chart = await drawChart(
    "Coverage curve: share of lookups and samples that are hot against hot bytes",
    (_, narrow) => ({
      height: narrow ? 260 : 340,
      marginTop: 28,
      marginRight: 24,
      marginLeft: 48,
      marginBottom: 44,
      x: {
        type: "log",
        base: 2,
        domain,
        label: "bytes of hot rows →",
        labelOffset: 38,
        ticks: byteTicks(domain, narrow ? 4 : 9),
        tickFormat: bytes,
      },
      y: { domain: [0, 1], label: null, tickFormat: wholePercent, ticks: 5, grid: true },
      marks: [
        Plot.ruleX(body.hotBytes > 0 ? [chosen] : [], { x: "hotBytes", stroke: "var(--ink)", strokeDasharray: "4 3" }),
        Plot.text(body.hotBytes > 0 ? [chosen] : [], {
          x: "hotBytes",
          text: () =>
            bytes(body.hotBytes) === bytes(body.hotMemory)
              ? `budget ${bytes(body.hotMemory)}`
              : `budget ${bytes(body.hotMemory)}, ${bytes(body.hotBytes)} of it used`,
          frameAnchor: "top",
          dy: -16,
          dx: late ? 6 : -6,
          textAnchor: late ? "end" : "start",
          fontWeight: "bold",
        }),
        ...lines,
      ],
    }),
  );
  return {
    title: "Coverage by budget",
    text: escape(
      nextDoubling(body) +
        (body.sampleRate === 100 ? "" : " The curve shows what a choice by exact counts would cover."),
    ),
    body: legend({ hot: "lookups that go to hot rows", cold: "samples whose lookups are all hot" }) + chart +
      details("The numbers", htmlTable(...coverageTable(body.coverage))),
  };
}

/** Powers of two in the domain, at most `most` of them. */
function byteTicks([low, high]: number[], most: number): number[] {
  const first = Math.ceil(Math.log2(low));
  const powers = Array.from({ length: Math.max(0, Math.floor(Math.log2(high)) - first + 1) }, (_, i) => first + i);
  const every = Math.ceil(powers.length / most);
  return powers.filter((_, i) => i % every === 0).map((power) => 2 ** power);
}

/** One sentence: the effect of doubling the budget. */
export function nextDoubling(body: ProfileBody): string {
  const { hotMemory, hotRows, rows, hotLookupShare, hotSampleShare, coverage } = body;
  if (hotRows === rows || hotLookupShare === 1) {
    return `Every row that is used is hot within ${bytes(hotMemory)}: a larger budget has no effect.`;
  }
  if (hotMemory === 0) {
    const [{ budget, lookupShare, sampleShare }] = coverage;
    return `Nothing is hot with a budget of 0. ${bytes(budget)} would make ${
      percent(lookupShare)
    } of the lookups hot, ` +
      `and about ${percent(sampleShare)} of the samples.`;
  }
  const doubled = 2 * hotMemory;
  // `coverage` contains the doubled budget unless that exceeds all rows.
  const { lookupShare: lookups, sampleShare: samples } = coverage.find(({ budget }) => budget === doubled) ??
    { lookupShare: 1, sampleShare: 1 };
  const points = (from: number, to: number) => `${(100 * (to - from)).toFixed(1)} points`;
  return `Doubling the budget from ${bytes(hotMemory)} to ${bytes(doubled)} would raise the hot lookups from ` +
    `${percent(hotLookupShare)} to ${percent(lookups)} (${points(hotLookupShare, lookups)} more) and the all-hot ` +
    `samples from about ${percent(hotSampleShare)} to ${percent(samples)} (${points(hotSampleShare, samples)} more).`;
}

async function tablesSection(body: ProfileBody): Promise<Section> {
  const whole = body.tables.filter(({ whole }) => whole).map(({ name }) => name);
  const parted = body.tables.filter(({ whole }) => !whole).sort((a, b) => b.rows - a.rows);
  const wholeText = whole.length === 0
    ? ""
    : whole.length === body.tables.length
    ? "All tables are entirely hot."
    : `Entirely hot, and not drawn: ${whole.join(", ")}.`;
  return {
    title: "Hot share by table",
    text: escape(`${parted.length > 0 ? "Largest tables first. " : ""}${wholeText}`),
    body: (parted.length > 0 ? await tablesChart(parted) : "") +
      details(
        "The numbers",
        htmlTable(
          ["table", "rows", "hot rows", "bytes", "hot bytes", "lookups", "lookups hot"],
          body.tables.map(({ name, rows, hotRows, accesses, lookupShare }) => [
            name,
            count(rows),
            count(hotRows),
            bytes(rows * body.bytesPerRow),
            bytes(hotRows * body.bytesPerRow),
            count(accesses),
            percent(lookupShare),
          ]),
        ),
      ),
  };
}

async function tablesChart(tables: readonly ProfileTable[]): Promise<string> {
  const longest = Math.max(...tables.map(({ name }) => name.length));
  const chart = await drawChart("Hot share of lookups and of rows for each table", (_, narrow) => ({
    height: 40 + 22 * tables.length,
    marginLeft: 14 + 7 * Math.min(narrow ? 12 : 30, longest),
    marginRight: 24,
    marginTop: 24,
    marginBottom: 10,
    x: { domain: [0, 1], axis: "top", tickFormat: wholePercent, ticks: 5, label: null, grid: true },
    y: {
      domain: tables.map(({ name }) => name),
      label: null,
      tickSize: 0,
      padding: 0.25,
      tickFormat: (name: string) => narrow && name.length > 12 ? `${name.slice(0, 11)}…` : name,
    },
    marks: [
      Plot.barX(tables, {
        x: "lookupShare",
        y: "name",
        fill: "var(--hot)",
        rx: 2,
        title: ({ name, lookupShare, hotRows, rows }: ProfileTable) =>
          `${name}: ${percent(lookupShare)} of the lookups go to ${count(hotRows)} hot rows of ${count(rows)}`,
      }),
      Plot.tickX(tables, {
        x: ({ hotRows, rows }: ProfileTable) => hotRows / rows,
        y: "name",
        stroke: "var(--ink)",
        strokeWidth: 3,
      }),
    ],
  }));
  return legend({ hot: "share of its lookups that go to hot rows", ink: "share of its rows that are hot" }) + chart;
}

async function popularitySection(body: ProfileBody, { tallies }: RowCounts): Promise<Section> {
  const curves = body.tables
    .map((table, t) => ({ table, points: popularityCurve(tallies[t], table.hotRows) }))
    .filter(({ points }) => points.length > 0)
    .sort((a, b) => b.table.rows - a.table.rows);
  const maxRows = Math.max(2, ...curves.map(({ points }) => points.at(-1)!.rank));
  const maxAccesses = Math.max(2, ...curves.map(({ points }) => points[0].accesses));
  const charts: string[] = [];
  for (const { table, points } of curves.slice(0, MAX_CURVES)) {
    if (breaks.due) await breaks.take();
    const svg = drawSvg(`Popularity of the rows of ${table.name}`, {
      width: 190,
      height: 130,
      marginLeft: 30,
      marginRight: 6,
      marginTop: 8,
      marginBottom: 20,
      style: { background: "none", fontSize: "10px" },
      x: {
        type: "log",
        domain: [1, maxRows],
        label: null,
        ticks: powersOfTen(maxRows),
        tickFormat: short,
        tickSize: 3,
      },
      y: {
        type: "log",
        domain: [1, maxAccesses],
        label: null,
        ticks: powersOfTen(maxAccesses),
        tickFormat: short,
        tickSize: 3,
        grid: true,
      },
      marks: [
        Plot.line(points.filter(({ rank }) => rank >= table.hotRows), {
          x: "rank",
          y: "accesses",
          stroke: "var(--cold)",
          strokeWidth: 2,
        }),
        Plot.line(points.filter(({ rank }) => rank <= table.hotRows), {
          x: "rank",
          y: "accesses",
          stroke: "var(--hot)",
          strokeWidth: 3,
        }),
      ],
    });
    const hot = table.whole
      ? "all hot"
      : `${percent(table.hotRows / table.rows)} hot, ${percent(table.lookupShare)} of the lookups`;
    const caption = `<b>${escape(table.name)}</b> ${count(table.rows)} rows, ${hot}`;
    charts.push(`<figure>${svg}<figcaption>${caption}</figcaption></figure>`);
  }
  const left = curves.length - charts.length;
  return {
    title: "Popularity of each table's rows",
    text:
      "Accesses in the train split against the rank of the row, both by powers of ten. A straight falling line is a " +
      "power law; the steeper, the more a small budget covers." +
      (left > 0 ? ` The ${MAX_CURVES} largest tables; ${left} smaller ones are left out.` : ""),
    body: legend({ hot: "hot rows", cold: "cold rows" }) + `<div class="small-charts">\n${charts.join("\n")}\n</div>`,
  };
}

/** About three powers of ten up to `most`. */
function powersOfTen(most: number): number[] {
  const powers = Math.floor(Math.log10(most));
  const every = Math.max(1, Math.ceil(powers / 3));
  return Array.from({ length: Math.floor(powers / every) + 1 }, (_, i) => 10 ** (i * every));
}

/** 1, 1k, 1M, 1G. */
function short(value: number): string {
  const power = Math.min(3, Math.floor(Math.log10(value) / 3 + 1e-9));
  return `${value / 1000 ** power}${["", "k", "M", "G"][power]}`;
}

/** A share in whole percent, for axes. */
export function wholePercent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

function aboutPercent(share: number): string {
  return share === 0 || share === 1 ? percent(share) : `≈ ${percent(share)}`;
}
