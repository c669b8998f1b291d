/** Commands whose terminal is closed, or that are told so. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { hangupIsIgnored } from "../../cli/interrupt.ts";
import { missingModule } from "../support/python.ts";
import { jsonLines, startUntil, WIDE_MODEL, Workplace } from "./support.ts";

/** Runs a command in a terminal of its own, closes that when a file is there, and waits for the command. */
const IN_TERMINAL = `
import os, pty, select, sys
file, command = sys.argv[1], sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0: os.execvp(command[0], command)
while not os.path.exists(file) or os.path.getsize(file) == 0:
    if select.select([terminal], [], [], 0.05)[0]: os.read(terminal, 4096)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;

const skipped = missingModule("pty") ?? (hangupIsIgnored() ? "SIGHUP is ignored" : undefined);
const name = `training outlives its terminal until its checkpoint is saved${skipped ? ` (skipped: ${skipped})` : ""}`;
Deno.test(name, { ignore: skipped !== undefined }, async () => {
  using place = new Workplace();
  await place.log("log.tsv", 20_000);
  const cli = new URL("../../cli.ts", import.meta.url).pathname;
  const args = ["train", "log.tsv", "--out", "run", "--print-freq", "10", "--epochs", "50", ...WIDE_MODEL];
  const command = [Deno.execPath(), "run", "-A", "--no-check", cli, ...args];
  const { stdout, stderr } = await new Deno.Command("python3", {
    args: ["-c", IN_TERMINAL, place.join("run/metrics.jsonl"), ...command],
    cwd: place.path,
  }).output();
  assert.equal(new TextDecoder().decode(stdout).trim(), "129", new TextDecoder().decode(stderr));
  assert.ok(existsSync(place.join("run/last/manifest.json")));
});

Deno.test("SIGHUP in training saves a checkpoint", { ignore: hangupIsIgnored() }, async () => {
  using place = new Workplace();
  await place.log("log.tsv", 20_000);
  const args = ["train", "log.tsv", "--out", "run", "--json", "--print-freq", "10", "--epochs", "50", ...WIDE_MODEL];
  const { child, end } = await startUntil(place, args, "stdout", /"event":"progress"/);
  child.kill("SIGHUP");
  const { code, stdout, stderr } = await end();
  assert.equal(code, 129, stderr);
  assert.ok(existsSync(place.join("run/last/manifest.json")));
  const { event, code: kind, message } = jsonLines(stdout).at(-1);
  assert.deepEqual([event, kind], ["error", "interrupted"]);
  assert.match(message, /^Training was interrupted at step \d+; .* Continue with: .* train --resume --out run$/);
});
