/** The first run on a GPU: failing parts are reported, and the results of other parts are kept. */
import assert from "node:assert/strict";
import { writeReport } from "../../tools/gpu/report.ts";
import { type Part, runPart } from "../../tools/gpu/run_part.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

function part(script: string, limit = 30): Part {
  return { name: "kernels", text: "A <part>.", limit, command: ["sh", "-c", script] };
}

Deno.test("what a part printed before its time was up, or before it failed, is kept; the next goes on", async () => {
  using directory = new TemporaryDirectory();
  const log = directory.join("log");
  const line = `echo '{"event":"kernel","name":"gather","batchSize":8,"microseconds":2,"bytes":1e6,"flops":0}'`;
  const late = await runPart(part(`${line}; sleep 60 & wait`, 0.3), log);
  assert.deepEqual([late.status, late.events.length], ["timed out", 1]);
  assert.ok(late.seconds < 30, "its own child held it up");
  const failed = await runPart(part(`${line}; echo '{cut'; echo oops >&2; exit 3`), log);
  assert.deepEqual([failed.status, failed.reason, failed.events.length], ["failed", "exit status 3", 1]);
  assert.deepEqual(failed.lines.toSorted(), ["oops", "{cut"]);
  const skipped = await runPart(part("echo no such thing; exit 77"), log);
  assert.deepEqual([skipped.status, skipped.reason], ["skipped", "no such thing"]);
  const absent = await runPart({ ...part(""), command: ["no-such-program"] }, log);
  assert.deepEqual([absent.status, absent.reason], ["skipped", "there is no no-such-program here"]);
  const outcomes = [late, failed, skipped, absent];
  writeReport(directory.path, "cuda", outcomes);
  assert.deepEqual(JSON.parse(Deno.readTextFileSync(directory.join("report.json"))).outcomes, outcomes);
  const html = Deno.readTextFileSync(directory.join("report.html"));
  assert.match(html, /0 of 4[^]*timed out[^]*A &#60;part&#62;\.[^]*gather, batch 8/);
  assert.doesNotMatch(html, /(src|href)="http/);
});
