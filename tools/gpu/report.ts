/** The report of the first run on a GPU: all results as JSON, and tables in one HTML file. */
import { join } from "node:path";
import { details, escape, htmlTable, pageHtml, type Section } from "../../src/report/html/page.ts";
import type { Outcome } from "./run_part.ts";

/** Writes `report.json` and `report.html`; what was there is replaced. */
export function writeReport(out: string, device: string, outcomes: readonly Outcome[]): void {
  const at = new Date().toISOString();
  Deno.writeTextFileSync(join(out, "report.json"), JSON.stringify({ device, at, outcomes }, null, 1));
  const findings = eventsOf(outcomes, "machine").flatMap(({ findings }) => findings as Finding[] ?? []);
  const gpu = findings.find(({ name, found }) => /^GPU \d/.test(name) && found)?.detail;
  const went = outcomes.filter(({ status }) => status === "ok").length;
  const best = Math.max(...eventsOf(outcomes, "steps").map(({ samplesPerSecond }) => Number(samplesPerSecond ?? 0)), 0);
  Deno.writeTextFileSync(
    join(out, "report.html"),
    pageHtml({
      title: `Hotset on ${gpu ?? (device === "emulated" ? "the emulated device" : "a machine without a GPU")}`,
      subtitle: `Written ${at}.${device === "emulated" ? " Times on the emulated device mean nothing." : ""}`,
      tiles: [
        { value: `${went} of ${outcomes.length}`, label: "parts went well" },
        { value: best === 0 ? "-" : `${(best / 1e6).toFixed(2)} M`, label: "samples/s at most, kaggle model" },
      ],
      generated: false,
      sections: [partsSection(outcomes), ...outcomes.map(sectionOf)],
    }),
  );
}

interface Finding {
  readonly name: string;
  readonly found: boolean;
  readonly detail: string;
}

type Event = Outcome["events"][number];

function eventsOf(outcomes: readonly Outcome[], part: string): readonly Event[] {
  return outcomes.find(({ name }) => name === part)?.events ?? [];
}

function partsSection(outcomes: readonly Outcome[]): Section {
  const rows = outcomes.map(({ name, status, seconds, reason }) => [name, status, `${seconds.toFixed(1)} s`, reason]);
  return { title: "Parts", text: "Each is a process of its own.", body: htmlTable(["part", "", "time", "why"], rows) };
}

/** The tables of the parts that have some; the others show what they printed. */
const TABLES: Readonly<Record<string, (events: readonly Event[]) => string>> = {
  machine: (events) =>
    htmlTable(
      ["what", "there", "detail"],
      events.flatMap(({ findings }) => findings as Finding[] ?? [])
        .map(({ name, found, detail }) => [name, found ? "yes" : "no", detail.split("\n")[0]]),
    ),
  demo: (events) =>
    htmlTable(
      ["mode", "device", "AUC", "logloss", "samples/s"],
      events.filter(({ event }) => event === "result").map((r) => [
        ...[r.mode, r.device].map(String),
        ...[r.auc, r.logloss].map((value) => Number(value).toFixed(4)),
        Number(r.samplesPerSecond).toFixed(0),
      ]),
    ),
  kernels: kernelTables,
  steps: (events) =>
    htmlTable(
      [
        "batch, mode",
        "rows",
        "optimizer",
        "precision",
        "activations",
        "device ms",
        "step ms",
        "read ms",
        "samples/s",
        "MB of a step to the device",
        "to the host",
        "notes",
      ],
      events.filter(({ event }) => event === "step").map((s) =>
        "failed" in s ? [String(s.failed)] : [
          `${s.batchSize}, ${s.mode}`,
          ...[s.kind, s.optimizer, s.precision, s.activations].map(String),
          ...[s.deviceMs, s.stepMs, s.readMs].map((ms) => ms === null ? "-" : Number(ms).toFixed(3)),
          Number(s.samplesPerSecond).toFixed(0),
          ...[s.bytesToDevice, s.bytesToHost].map((bytes) => (Number(bytes) / 1e6).toFixed(2)),
          (s.notes as readonly string[] ?? []).join("; "),
        ]
      ),
    ),
  pytorch: torchTable,
  compile: torchTable,
};

function kernelTables(events: readonly Event[]): string {
  const limits = events.find(({ event }) => event === "limits");
  const rates = limits?.flopPerSecond as Record<string, number> | undefined;
  const head = rates === undefined ? "" : `<p>${
    escape(
      `Limits: copies ${(Number(limits!.bytesPerSecond) / 1e9).toFixed(0)} GB/s; products, TFLOP/s: ` +
        Object.entries(rates).map(([precision, rate]) => `${precision} ${(rate / 1e12).toFixed(1)}`).join(", "),
    )
  }</p>`;
  const rows = events.filter(({ event }) => event === "kernel").map((k) => [
    `${k.name}, batch ${k.batchSize}`,
    `${Number(k.microseconds).toFixed(1)} us`,
    `${(Number(k.bytes) / 1e6).toFixed(2)} MB`,
    k.flops === 0 ? "" : `${(Number(k.flops) / 1e9).toFixed(3)} GFLOP`,
    `${(100 * Number(k.shareOfLimit)).toFixed(0)} %`,
  ]);
  return head + htmlTable(["kernel", "time", "bytes", "FLOP", "of the limit"], rows);
}

function torchTable(events: readonly Event[]): string {
  return htmlTable(
    ["way", "batch", "precision", "step ms", "samples/s"],
    events.filter(({ event }) => event === "pytorch").map((t) => [
      ...[t.way, t.batchSize, t.precision].map(String),
      ...("failed" in t ? [String(t.failed)] : [Number(t.stepMs).toFixed(3), Number(t.samplesPerSecond).toFixed(0)]),
    ]),
  );
}

function sectionOf({ name, text, status, reason, command, events, lines }: Outcome): Section {
  const printed = lines.length === 0 ? "" : `<pre class="scroll">${escape(lines.join("\n"))}</pre>`;
  const table = events.length === 0 ? "" : TABLES[name]?.(events) ?? "";
  const state = status === "ok" ? "" : ` <b>${escape(`${status}: ${reason}`)}</b>`;
  return {
    title: name,
    text: `${escape(text)}${state}`,
    body: table + (table === "" ? printed : details("What else it printed", printed)) +
      details("The command", `<p><code>${escape(command)}</code></p>`),
  };
}
