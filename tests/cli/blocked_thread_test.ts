/** A failed process exits although another of its threads is blocked. */
import assert from "node:assert/strict";

Deno.test("a thread that waits in a foreign call does not hold up a process that has told why it failed", async () => {
  const begin = performance.now();
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", new URL("blocked_thread.ts", import.meta.url).pathname, "train", "/nothing"],
    stdout: "null",
    stderr: "piped",
  }).output();
  assert.equal(code, 1);
  assert.match(new TextDecoder().decode(stderr), /^error: .*\/nothing/);
  assert.ok(performance.now() - begin < 30_000, "it waited for the thread");
});
