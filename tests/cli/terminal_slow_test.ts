/** What commands print in a terminal of 80 columns. */
import assert from "node:assert/strict";
import { missingModule } from "../support/python.ts";
import { WIDE_MODEL, Workplace } from "./support.ts";

/** Runs a command in a terminal of 80 columns and prints what it wrote there. */
const IN_TERMINAL = `
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.execvp(sys.argv[1], sys.argv[1:])
try:
    while part := os.read(terminal, 4096): sys.stdout.buffer.write(part)
except OSError: pass
os.waitpid(pid, 0)
`;

const skipped = missingModule("pty");
const name = `progress, notes and the final table of training fit in 80 columns${
  skipped ? ` (skipped: ${skipped})` : ""
}`;
Deno.test(name, { ignore: skipped !== undefined }, async () => {
  using place = new Workplace();
  place.log("log.tsv", 20_000);
  const cli = new URL("../../cli.ts", import.meta.url).pathname;
  const args = ["train", "log.tsv", "--out", "run", "--print-freq", "10", "--epochs", "3", "--test-freq", "200"];
  const command = [Deno.execPath(), "run", "-A", "--no-check", cli, ...args, ...WIDE_MODEL];
  const { stdout } = await new Deno.Command("python3", { args: ["-c", IN_TERMINAL, ...command], cwd: place.path })
    .output();
  const text = new TextDecoder().decode(stdout);
  assert.match(text, /train [█░]+ step [\d,]+\/[\d,]+, epoch \d\/3, (ETA \d+ s, )?[\d,]+\/s, loss 0\.\d{4}/);
  assert.match(text, /^mode +samples\/s +training +step +AUC/m);
  // deno-lint-ignore no-control-regex -- the sequences that move the cursor
  const lines = text.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "\r").split(/[\r\n]+/);
  // A word that is longer, such as the path of a dataset, remains whole.
  const long = lines.filter((line) => line.length > 80 && line.includes(" ") && !line.includes(place.path));
  assert.deepEqual(long, []);
});
