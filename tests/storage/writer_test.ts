/** The name of what is being written says which process writes it, on which host. */
import assert from "node:assert/strict";
import { hostName, writerMark, writerState } from "../../src/storage/writer.ts";
import { waitFor } from "../support/wait_for.ts";

const FIELDS = ["pid", "start", "boot", "namespace", "host"] as const;
const NONE = "99999999"; // no process has this number

/** The mark of this process with other fields. */
function markWith(changes: Partial<Record<typeof FIELDS[number], string>>): string {
  const own = writerMark().slice(0, -1).split(".");
  const fields = FIELDS.map((name, i) => changes[name] ?? (i < 4 ? own[i] : own.slice(4).join(".")));
  return `${fields.join(".")}+1a2b`;
}

const host = hostName();

Deno.test("a process is known by its id and start, on this host", () => {
  assert.equal(writerState(markWith({})), "running");
  assert.equal(writerState(markWith({ pid: NONE })), "ended");
});

Deno.test({
  name: "a later process with the id of an earlier one is not taken for it",
  ignore: Deno.build.os !== "linux",
  fn: () => assert.equal(writerState(markWith({ start: "1" })), "ended"),
});

Deno.test("what runs on another host, or in another container of this one, is not known", () => {
  assert.deepEqual(writerState(markWith({ host: "other-1.example" })), { host: "other-1.example" });
  assert.deepEqual(writerState(markWith({ host: "other-1.example", pid: NONE })), { host: "other-1.example" });
  assert.deepEqual(writerState(markWith({ namespace: "2", pid: NONE })), { host: host || "unknown" });
});

Deno.test("all processes of a host ended with its last boot, unless its name is that of many", () => {
  assert.deepEqual(writerState(markWith({ boot: "0badb007" })), host === "" ? { host: "unknown" } : "ended");
});

Deno.test("names by earlier versions have the id of a process of this host", async () => {
  assert.equal(writerState(`${NONE}-x`), "ended");
  const sleeping = new Deno.Command("sleep", { args: ["30"] }).spawn();
  assert.equal(writerState(`${sleeping.pid}-x`), "running");
  sleeping.kill("SIGKILL");
  await waitFor(() => writerState(`${sleeping.pid}-x`) === "ended");
  await sleeping.status;
});
