import assert from "node:assert/strict";
import { Terminal } from "../../src/report/terminal.ts";

/** The lines that a terminal prints where stderr is a file, while `work` sets the time. */
function linesOf(work: (terminal: Terminal, at: (ms: number) => void) => void): string[] {
  const { error } = console, { now } = performance, { isTerminal } = Deno.stderr;
  const lines: string[] = [];
  let time = 0;
  try {
    Deno.stderr.isTerminal = () => false;
    performance.now = () => time;
    console.error = (line: string) => lines.push(line);
    using terminal = new Terminal();
    work(terminal, (ms) => time = ms);
  } finally {
    Object.assign(console, { error });
    Object.assign(performance, { now });
    Object.assign(Deno.stderr, { isTerminal });
  }
  return lines;
}

Deno.test("of a run that follows another one, nothing is shown that the other one reported", () => {
  const lines = linesOf(({ report }, at) => {
    const layout = {
      samples: 100,
      hotSamples: 0,
      hotSampleShare: 0,
      hotBatches: 0,
      coldBatches: 4,
      bytes: 1,
      seconds: 1,
    };
    const progress = { epoch: 0, epochs: 1, steps: 4, samplesPerSecond: 77, hotShare: 0, learningRate: 1, rate: 50 };
    for (const begin of [10_000, 30_000]) {
      report({ event: "layout", ...layout });
      for (const step of [1, 2, 3, 4]) {
        at(begin + 3000 * step);
        report({ event: "stage", stage: "train", fraction: step / 4 });
      }
      at(begin + 18_000);
      report({ event: "progress", ...progress, step: 4, loss: 0.25 });
    }
  });
  const trained = lines.filter((line) => line.startsWith("train"));
  assert.deepEqual(trained.slice(trained.length / 2), trained.slice(0, trained.length / 2));
  assert.ok(trained[0] === "train 50%" && trained.some((line) => line.includes("loss 0.2500")), trained.join("\n"));
});
