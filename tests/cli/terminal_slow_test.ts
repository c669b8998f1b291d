/** What commands print in a terminal of 80 columns, and in one that has no size. */
import assert from "node:assert/strict";
import { missingModule } from "../support/python.ts";
import { WIDE_MODEL, Workplace } from "./support.ts";

/** Runs a command in a terminal of this number of columns and prints what it wrote there. */
const IN_TERMINAL = `
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, int(sys.argv[1]), 0, 0))
    os.execvp(sys.argv[2], sys.argv[2:])
try:
    while part := os.read(terminal, 4096): sys.stdout.buffer.write(part)
except OSError: pass
os.waitpid(pid, 0)
`;

/** What training prints in a terminal. */
async function train(place: Workplace, columns: number, ...options: string[]): Promise<string> {
  const cli = new URL("../../cli.ts", import.meta.url).pathname;
  const args = ["train", "log.tsv", "--out", "run", ...options, ...WIDE_MODEL];
  const command = [`${columns}`, Deno.execPath(), "run", "-A", "--no-check", cli, ...args];
  const { stdout } = await new Deno.Command("python3", { args: ["-c", IN_TERMINAL, ...command], cwd: place.path })
    .output();
  return new TextDecoder().decode(stdout);
}

const skipped = missingModule("pty");
const ignore = skipped !== undefined;
const because = ignore ? ` (skipped: ${skipped})` : "";

Deno.test(`progress, notes and the final table of training fit in 80 columns${because}`, { ignore }, async () => {
  using place = new Workplace();
  await place.log("log.tsv", 20_000);
  const text = await train(place, 80, "--print-freq", "10", "--epochs", "3", "--test-freq", "200");
  assert.match(text, /train [█░]+ step [\d,]+\/[\d,]+, epoch \d\/3, (ETA \d+ s, )?[\d,]+\/s, loss 0\.\d{4}/);
  assert.match(text, /^mode +samples\/s +training +step +AUC/m);
  // deno-lint-ignore no-control-regex -- the sequences that move the cursor
  const lines = text.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "\r").split(/[\r\n]+/);
  // A word that is longer, such as the path of a dataset, remains whole.
  const long = lines.filter((line) => line.length > 80 && line.includes(" ") && !line.includes(place.path));
  assert.deepEqual(long, []);
});

Deno.test(`lines remain whole in a terminal without a size, such as that of mpirun${because}`, { ignore }, async () => {
  using place = new Workplace();
  await place.log("log.tsv", 500);
  assert.match(await train(place, 0), /^AUC: share of pairs of a positive and a negative sample /m);
});
