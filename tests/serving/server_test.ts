/**
 * A server returns the model's probabilities, refuses invalid requests, and reloads its model without an interruption.
 */
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { openModel } from "../../src/serving/scoring_model.ts";
import { ScoringServer, type ServerOptions } from "../../src/serving/server.ts";
import { logRow, openFiles, TrainedRun, typedRow } from "./support.ts";

const OPTIONS: ServerOptions = {
  ...{ hostname: "127.0.0.1", port: 0, maxBodyBytes: 200_000, maxRows: 600, timeoutMs: 2000 },
};
const ROWS = Array.from({ length: 600 }, (_, i) => {
  const { user = null, ...row } = typedRow(logRow(i * 5 + 2));
  return { ...row, user };
});

/** A server that ends with its scope. */
async function serving(run: string, options: Partial<ServerOptions> = {}) {
  const server = await ScoringServer.start(run, { ...OPTIONS, ...options });
  return { server, [Symbol.asyncDispose]: () => server.close() };
}

/** Asks, and reads the answer. */
async function ask(url: string, body: BodyInit | unknown[], init: RequestInit = {}): Promise<[number, unknown]> {
  const text = Array.isArray(body) ? JSON.stringify(body) : body;
  const response = await fetch(url, { method: "POST", body: text, ...init });
  const answer = await response.text();
  assert.match(answer, /^[^\n]*\n$/);
  return [response.status, JSON.parse(answer)];
}

Deno.test("concurrent requests of any size have the probabilities of score, whatever is scored with them", async () => {
  using trained = await TrainedRun.create();
  using model = await openModel(trained.run);
  const expected = [...model.score(ROWS)];
  await using serve = await serving(trained.run);
  const url = `${serve.server.url}/score`;
  const parts = [[0, 1], [1, 2], [2, 40], [0, 600], [40, 41], [41, 300], [7, 7], [300, 600]];
  const answers = await Promise.all(parts.map(([first, last]) => ask(url, ROWS.slice(first, last))));
  assert.deepEqual(answers, parts.map(([first, last]) => [200, expected.slice(first, last)]));

  // One request's fault is not another's.
  const bad = [ROWS[0], { ...ROWS[1], price: "a lot" }];
  const [good, refused, other] = await Promise.all([ask(url, [ROWS[3]]), ask(url, bad), ask(url, [ROWS[4]])]);
  assert.deepEqual([good, other], [[200, [expected[3]]], [200, [expected[4]]]]);
  assert.deepEqual(refused, [400, {
    code: "bad-row",
    message: 'Cannot score row 1 (from 0): price is "a lot", not a finite number',
  }]);

  const metrics = await (await fetch(`${serve.server.url}/metrics`)).text();
  assert.match(metrics, /^hotset_requests_total\{path="\/score",status="200"\} 10$/m);
  assert.match(metrics, /^hotset_requests_total\{path="\/score",status="400"\} 1$/m);
  assert.match(metrics, /^hotset_score_seconds_count 10$/m);
  const rows = parts.reduce((sum, [first, last]) => sum + last - first, 2);
  assert.match(metrics, new RegExp(`^hotset_rows_total ${rows}$`, "m"));
  assert.match(metrics, /^hotset_waiting_rows 0$/m);
});

Deno.test("what is malformed, too large or too slow is refused with one line, and the server goes on", async () => {
  using trained = await TrainedRun.create();
  await using serve = await serving(trained.run, { timeoutMs: 300 });
  const { url } = serve.server;
  const endless = (chunk: string, ms: number) =>
    new ReadableStream({
      async pull(controller) {
        await new Promise((resolve) => setTimeout(resolve, ms));
        controller.enqueue(new TextEncoder().encode(chunk));
      },
    });
  const CASES: [string, BodyInit, RequestInit, number, string, RegExp][] = [
    ["/score", "{", {}, 400, "bad-json", /^the body is no JSON: /],
    ["/score", "", {}, 400, "bad-json", /no JSON/],
    ["/score", '{"price": 1}', {}, 400, "bad-json", /no array of rows/],
    ["/score", new Uint8Array([91, 255, 93]), {}, 400, "bad-json", /no UTF-8/],
    ["/score", "[1]", {}, 400, "bad-row", /row 0 .*no object/],
    ["/score", JSON.stringify(Array(601).fill({})), {}, 413, "too-large", /^601 rows, where 600/],
    ["/score", " ".repeat(200_001), {}, 413, "too-large", /more than 200000 bytes/],
    ["/score", endless(" ".repeat(50_000), 0), {}, 413, "too-large", /more than 200000 bytes/],
    ["/score", endless(" ", 50), {}, 408, "timeout", /within 300 ms/],
    ["/score", "[]", { method: "PUT" }, 405, "bad-method", /POST alone/],
    ["/else", "[]", {}, 404, "not-found", /no \/else/],
    ["/reload", "", { headers: { "x-forwarded-for": "10.0.0.1" } }, 403, "denied", /on this machine/],
  ];
  for (const [path, body, init, status, code, message] of CASES) {
    const [found, answer] = await ask(`${url}${path}`, body, init);
    const { code: told, message: said } = answer as { code: string; message: string };
    assert.deepEqual([found, told], [status, code], path + message);
    assert.match(said, message);
  }
  const [status] = await ask(`${url}/score`, ROWS.slice(0, 2));
  assert.equal(status, 200);
  assert.deepEqual(await (await fetch(`${url}/healthz`)).json(), { status: "ok" });
});

Deno.test("another checkpoint takes the place of the first, and no request is lost; a broken one does not", async () => {
  using trained = await TrainedRun.create();
  using other = await TrainedRun.create(undefined, { maxIndRange: 5 });
  using first = await openModel(trained.run);
  using second = await openModel(other.run);
  const answers = [first, second].map((model) => JSON.stringify([...model.score(ROWS.slice(0, 3))]));
  assert.notEqual(answers[0], answers[1]);
  await using serve = await serving(trained.run);
  const { url } = serve.server;
  assert.deepEqual(await ask(`${url}/reload`, ""), [200, {
    ...{ reloaded: false, run: trained.run, checkpoint: first.facts.checkpoint, step: first.facts.step },
  }]);
  let changed = false;
  const seen: string[] = [];
  const asking = (async () => {
    while (!changed || seen.at(-1) === answers[0]) {
      const [status, found] = await ask(`${url}/score`, ROWS.slice(0, 3));
      assert.equal(status, 200);
      seen.push(JSON.stringify(found));
      assert.ok(answers.includes(seen.at(-1)!));
    }
  })();
  Deno.renameSync(trained.run, trained.join("old"));
  const [status, refused] = await ask(`${url}/reload`, "");
  assert.equal(status, 500);
  assert.match((refused as { message: string }).message, /^Cannot /);
  Deno.symlinkSync(other.run, trained.run);
  const [, { reloaded, checkpoint }] = await ask(`${url}/reload`, "") as [number, Record<string, unknown>];
  changed = true;
  assert.deepEqual([reloaded, checkpoint], [true, second.facts.checkpoint]);
  await asking;
  assert.deepEqual([...new Set(seen)], answers);
});

Deno.test({
  name: "a server whose rows stay on disk answers when its run is gone, and has closed all files in the end",
  ignore: Deno.build.os !== "linux",
  async fn() {
    using trained = await TrainedRun.create();
    using other = await TrainedRun.create(undefined, { maxIndRange: 5 });
    const expected = await Promise.all([trained, other].map(async ({ run }) => {
      using model = await openModel(run);
      return [...model.score(ROWS)];
    }));
    const server = await ScoringServer.start(trained.run, { ...OPTIONS, rowMemory: 500 });
    const { url } = server;
    assert.equal(openFiles(trained.path).length, 1);
    const busy = { ...OPTIONS, port: Number(new URL(url).port), rowMemory: 500 };
    await assert.rejects(ScoringServer.start(other.run, busy), /^HotsetError: Cannot listen/);
    assert.deepEqual(openFiles(other.path), []);

    Deno.removeSync(trained.run, { recursive: true });
    const parts = [[0, 1], [1, 40], [0, 600], [300, 600]];
    const answers = () => Promise.all(parts.map(([first, last]) => ask(`${url}/score`, ROWS.slice(first, last))));
    const ofModel = (model: number) => parts.map(([first, last]) => [200, expected[model].slice(first, last)]);
    assert.deepEqual(await answers(), ofModel(0));
    Deno.symlinkSync(other.run, trained.run);
    let reloaded = false;
    const asking = Array.from({ length: 8 }, async () => {
      // A request of this size waits for its second turn most of the time, and so when the model is replaced.
      while (!reloaded) {
        const [status, answer] = await ask(`${url}/score`, ROWS);
        assert.equal(status, 200, JSON.stringify(answer));
        assert.ok(expected.some((scores) => isDeepStrictEqual(answer, scores)));
      }
    });
    const [status] = await ask(`${url}/reload`, "");
    reloaded = true;
    assert.equal(status, 200);
    await Promise.all(asking);
    assert.deepEqual(await answers(), ofModel(1));
    assert.deepEqual([openFiles(trained.path).length, openFiles(other.path).length], [0, 1]);
    await server.close();
    assert.deepEqual(openFiles(other.path), []);
  },
});

Deno.test("a server that closes answers what it has begun, and nothing after it", async () => {
  using trained = await TrainedRun.create();
  const server = await ScoringServer.start(trained.run, OPTIONS);
  const { url } = server;
  const pending = Array.from({ length: 8 }, () => ask(`${url}/score`, ROWS));
  // All of them have arrived when this one, which came last, is answered.
  const ready = await fetch(`${url}/readyz`);
  assert.equal((await ready.json()).status, "ready");
  await server.close();
  for (const [status, answer] of await Promise.all(pending)) {
    assert.equal(status, 200);
    assert.equal((answer as number[]).length, 600);
  }
  await assert.rejects(fetch(`${url}/healthz`));
});
