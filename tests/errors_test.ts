import assert from "node:assert/strict";
import { openSync } from "node:fs";
import { codeOf, HotsetError, messageOf } from "../src/errors.ts";

function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return assert.fail("nothing was thrown");
}

Deno.test("of a system's error the reason is told, without call, path and number; all else as it is", () => {
  const missing = "no such folder, 'quoted'/file";
  assert.equal(messageOf(thrownBy(() => Deno.openSync(missing))), "No such file or directory");
  assert.equal(messageOf(thrownBy(() => Deno.renameSync(missing, "a"))), "No such file or directory");
  assert.match(messageOf(thrownBy(() => openSync(missing, "r"))), /^no such file or directory$/i);
  assert.equal(messageOf(new Error("Cannot read a: E2 is bad, open 'it'")), "Cannot read a: E2 is bad, open 'it'");
  assert.equal(messageOf("text"), "text");
});

Deno.test("of an error whose cleaning up failed too, the first one is told", () => {
  const failing = () => {
    using _used = { [Symbol.dispose]: () => Deno.removeSync("no such file") };
    throw new HotsetError("Cannot write a", { code: "no-space" });
  };
  const error = thrownBy(failing);
  assert.equal(messageOf(error), "Cannot write a");
  assert.equal(codeOf(error), "no-space");
});
