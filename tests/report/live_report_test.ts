/** The live report of a run as a browser receives it. */
import assert from "node:assert/strict";
import { LiveReport } from "../../src/report/html/live_report.ts";
import { METRICS_FILE } from "../../src/run/run_metrics.ts";
import { CONFIG, dataOf, run } from "../support/small_run.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

/** Reads server-sent events one by one. */
async function* messages(response: Response): AsyncGenerator<string> {
  const reader = response.body!.pipeThrough(new TextDecoderStream());
  for await (const text of reader) yield* text.split("\n\n").filter((part) => part !== "");
}

Deno.test("a live page tells when the run has new events, and shows them; other hosts and methods get nothing", async () => {
  using directory = new TemporaryDirectory();
  const { out } = await run(directory, "run", dataOf(directory, 300), { ...CONFIG, mode: "cpu", epochs: 1 });
  const path = `${out}/${METRICS_FILE}`;
  const lines = Deno.readTextFileSync(path).trimEnd().split("\n");
  const write = (count: number) =>
    Deno.writeTextFileSync(path, lines.slice(0, count).map((line) => `${line}\n`).join(""));
  const first = lines.findIndex((line) => line.includes('"event":"progress"')) + 1;
  Deno.removeSync(path);

  await using live = new LiveReport(out);
  assert.match(live.url, /^http:\/\/127\.0\.0\.1:\d+\/$/);
  const page = async () => await (await fetch(live.url)).text();
  assert.match(await page(), /It has no events yet\./);
  const stream = messages(await fetch(`${live.url}events`));
  assert.equal((await stream.next()).value, "data: connected");
  write(first);
  assert.equal((await stream.next()).value, "data: changed");
  const { step, steps, loss } = JSON.parse(lines[first - 1]);
  const early = await page();
  assert.ok(early.includes(`step ${step} of ${steps}`) && early.includes(`<b>${loss.toFixed(4)}</b>`));
  assert.match(early, /The run has not ended/);
  write(lines.length);
  assert.equal((await stream.next()).value, "data: changed");
  const late = await page();
  assert.ok(!/has not ended|NaN|undefined/.test(late) && late.includes("<h2>AUC</h2>"));

  const status = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(`${live.url}${path}`, init);
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await status("nothing"), 404);
  assert.equal(await status("", { method: "POST" }), 405);
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(new URL(live.url).port) });
  await connection.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n"));
  const answer = new Uint8Array(64);
  const length = await connection.read(answer);
  connection.close();
  assert.match(new TextDecoder().decode(answer.subarray(0, length ?? 0)), /^HTTP\/1\.1 403 /);
  await stream.return(undefined);
});

Deno.test("a port in use is an error", async () => {
  using directory = new TemporaryDirectory();
  const { out } = await run(directory, "run", dataOf(directory, 100), { ...CONFIG, mode: "cpu", epochs: 1 });
  await using live = new LiveReport(out);
  const port = Number(new URL(live.url).port);
  assert.throws(() => new LiveReport(out, port), /^HotsetError: Cannot listen at 127\.0\.0\.1:\d+: /);
  assert.throws(
    () => new LiveReport(directory.join("gone")),
    /^HotsetError: Cannot open run .*gone: no such directory$/,
  );
});
