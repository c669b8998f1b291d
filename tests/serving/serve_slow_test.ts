/** The command `serve` as a process: constant memory under load, and a graceful end on a signal. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { jsonLines, Workplace } from "../cli/support.ts";
import { logRow, openFiles, TrainedRun } from "./support.ts";

const SECONDS = 20;
const CLIENTS = 8;

Deno.test("serve under load loses no request, does not grow, and ends in order at SIGTERM", async () => {
  using trained = await TrainedRun.create();
  using place = new Workplace();
  const child = place.start(["serve", trained.run, "--port", "0", "--json"]);
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const [{ url }] = jsonLines((await lines.read()).value!) as unknown as [{ url: string }];
  const rows = Array.from({ length: 50 }, (_, i) => JSON.stringify([logRow(i)]));
  let answered = 0;
  const load = async (seconds: number) => {
    const end = performance.now() + 1000 * seconds;
    await Promise.all(Array.from({ length: CLIENTS }, async () => {
      while (performance.now() < end) {
        const response = await fetch(`${url}/score`, { method: "POST", body: rows[answered++ % rows.length] });
        assert.equal((await response.json()).length, 1);
      }
    }));
    const metrics = await (await fetch(`${url}/metrics`)).text();
    return Number(/^process_resident_memory_bytes (\d+)$/m.exec(metrics)![1]);
  };
  const before = await load(SECONDS / 2);
  const after = await load(SECONDS / 2);
  assert.ok(answered > 500, `${answered} requests`);
  assert.ok(after < before + 64 * 2 ** 20, `${before} bytes became ${after}`);

  const pending = Array.from({ length: CLIENTS }, async () => {
    const body = JSON.stringify(Array.from({ length: 2000 }, (_, i) => logRow(i)));
    return (await (await fetch(`${url}/score`, { method: "POST", body })).json()).length;
  });
  await (await fetch(`${url}/readyz`)).body?.cancel();
  child.kill("SIGTERM");
  assert.deepEqual(await Promise.all(pending), Array(CLIENTS).fill(2000));

  const [{ code }, stderr] = await Promise.all([child.status, new Response(child.stderr).text()]);
  assert.deepEqual([code, stderr], [0, ""]);
  await lines.cancel();
  assert.ok(existsSync(trained.run));
});

Deno.test({
  name: "serve --row-memory leaves the rows on disk, and scores the same",
  ignore: Deno.build.os !== "linux",
  async fn() {
    using trained = await TrainedRun.create();
    using place = new Workplace();
    const served = async (...options: string[]) => {
      const child = place.start(["serve", trained.run, "--port", "0", "--json", ...options]);
      const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
      const [{ url }] = jsonLines((await lines.read()).value!) as unknown as [{ url: string }];
      const body = JSON.stringify(Array.from({ length: 50 }, (_, i) => logRow(i)));
      const scores = await (await fetch(`${url}/score`, { method: "POST", body })).json();
      const open = openFiles(trained.path, child.pid).length;
      child.kill("SIGTERM");
      await Promise.all([child.status, lines.cancel(), child.stderr.cancel()]);
      return { scores, open };
    };
    const { scores, open } = await served();
    assert.deepEqual([scores.length, open], [50, 0]);
    assert.deepEqual(await served("--row-memory", "1KiB"), { scores, open: 1 });
  },
});

Deno.test("serve refuses an address that is taken, a run that is none, and a wrong port", async () => {
  using trained = await TrainedRun.create();
  using place = new Workplace();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr;
  const busy = await place.run("serve", trained.run, "--port", String(port));
  assert.equal(busy.code, 1);
  assert.match(busy.stderr, new RegExp(`^error: Cannot listen at 127\\.0\\.0\\.1:${port}: Address already in use\n$`));
  assert.equal((await place.run("serve", "nothing")).code, 1);
  const wrong = await place.run("serve", trained.run, "--port", "65536");
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /Expected a number from 0 \(any that is free\) to 65535/);
});
