/**
 * Signals at any time end a command with one line and leave no unfinished output; for training see interrupt_test.ts.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { hangupIsIgnored } from "../../cli/interrupt.ts";
import { slowTest, someOf } from "../support/series.ts";
import { jsonLines, Workplace } from "./support.ts";

const LONG = ["generate", "--samples", "50000000", "--scale", "1000", "--out", "data"];
const SHORT = ["generate", "--samples", "400000", "--scale", "1000", "--out", "data"];
const TOLD =
  /^Interrupted by .*; unfinished output is removed, and the same command continues from the finished stages\n$/;

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what: () => boolean): Promise<void> {
  while (!what()) await sleep(5);
}

/** Waits until a command has begun to write. */
const begun = (place: Workplace) => until(() => place.files().some((path) => /partial/.test(path)));

/** The tests themselves may have been started by npx. */
const NO_NPX: Record<string, string> = { npm_lifecycle_event: "", npm_lifecycle_script: "" };

/** Starts a command below a shell, as npx does, that has made some settings. */
function startBelow(place: Workplace, setting: string, args: readonly string[], env = NO_NPX) {
  const cli = new URL("../../cli.ts", import.meta.url).pathname;
  return new Deno.Command("sh", {
    args: ["-c", `${setting} "$@"; exit $?`, "sh", Deno.execPath(), "run", "-A", "--no-check", cli, ...args, "--quiet"],
    cwd: place.path,
    env: { NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

const SIGNALS = [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const;

for (const [signal, status] of someOf(SIGNALS, SIGNALS.length)) {
  const name = `${signal} while a command works: one line, its exit status, nothing left`;
  Deno.test(name, { ignore: signal === "SIGHUP" && hangupIsIgnored() }, async () => {
    using place = new Workplace();
    const child = place.start([...LONG, "--quiet", "--json"]);
    await begun(place);
    child.kill(signal);
    const { code, stdout, stderr } = await child.output();
    const said = new TextDecoder().decode(stderr);
    assert.match(said, TOLD);
    assert.ok(said.includes(`by ${signal};`));
    assert.equal(code, status);
    assert.deepEqual(jsonLines(new TextDecoder().decode(stdout)), [
      { event: "error", code: "interrupted", message: said.trimEnd() },
    ]);
    assert.deepEqual(place.files(), []);
  });
}

Deno.test("a second signal ends a command that does not hear the first", async () => {
  using place = new Workplace();
  const child = place.start([...LONG, "--quiet"]);
  await begun(place);
  // Both come while the thread that listens is stopped with all others, so that none has been heard.
  child.kill("SIGSTOP");
  child.kill("SIGINT");
  child.kill("SIGTERM");
  child.kill("SIGCONT");
  const { code } = await child.output();
  assert.ok([130, 143].includes(code), `${code}`);
});

Deno.test("prepare keeps its finished steps through a signal, and continues from them", async () => {
  using place = new Workplace();
  await place.log("log.tsv", 60_000);
  const child = place.start(["prepare", "log.tsv", "--out", "data", "--quiet"]);
  await until(() => place.files().some((path) => /^\.data\.stage-.*\/log\.0\.0\.json$/.test(path)));
  child.kill("SIGTERM");
  const { code, stderr } = await child.output();
  assert.equal(code, 143);
  assert.match(new TextDecoder().decode(stderr), TOLD);
  assert.ok(!place.files().some((path) => /^\.data\.(partial|lock)/.test(path)), place.files().join("\n"));
  await place.succeed("prepare", "log.tsv", "--out", "data");
  assert.deepEqual(place.files().filter((path) => path.startsWith(".")), []);
});

Deno.test("a command that npx started ends when npx is ended", async () => {
  using place = new Workplace();
  const npx = startBelow(place, "", LONG, { npm_lifecycle_event: "npx", npm_lifecycle_script: "'deno'" });
  await begun(place);
  npx.kill("SIGKILL");
  const { stderr } = await npx.output(); // until the command itself has closed it
  assert.match(new TextDecoder().decode(stderr), /^Interrupted by the exit of npx, which started it; /);
  assert.deepEqual(place.files(), []);
});

for (
  const [parent, setting, disturb] of [
    ["any other parent's end", "", (shell: Deno.ChildProcess) => shell.kill("SIGKILL")],
    ["SIGHUP under nohup", "trap '' HUP; exec", (shell: Deno.ChildProcess) => shell.kill("SIGHUP")],
  ] as const
) {
  slowTest(`a command outlives ${parent}`, async () => {
    using place = new Workplace();
    const shell = startBelow(place, setting, SHORT);
    await begun(place);
    disturb(shell);
    const { stderr } = await shell.output();
    assert.equal(new TextDecoder().decode(stderr), "");
    assert.ok(existsSync(place.join("data/manifest.json")));
  });
}
