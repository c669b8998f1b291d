/**
 * A week of a model that grows: deno run -A examples/week.ts week [CLICKS_A_DAY] [DAYS]
 *
 * Every day brings a log with new users and items. The day's model begins with yesterday's, is packed into one file,
 * and replaces the one that a server scores with; tomorrow's clicks then show how good it is. Beside it, a model is
 * trained from scratch on the day alone, and one on all days so far. In the end the file moves away from everything
 * else, and another user scores with it. Each step is one command, which is printed.
 */
const [folder = "week", clicks = "20000", days = "7"] = Deno.args;
const DAYS = Number(days);
const NOBODY = 65534; // the number of this user and its group

let state = 1;
const random = () => (state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff) / 0x80000000;
/** A number below `count`; small ones are popular. */
const popular = (count: number) => Math.floor(count * random() ** 3);
/** What a user or an item is like: a number from -1 to 1 that belongs to its own number. */
const nature = (n: number, of: number) => Math.sin(n * 12.9898 + of * 78.233);

/** Writes the clicks of a day. Users and items come and go: their numbers rise from day to day. */
function writeDay(day: number): void {
  const lines = ["clicked,hour,user,item"];
  for (let i = 0; i < Number(clicks); i++) {
    const [user, item, hour] = [150 * day + popular(1500), 40 * day + popular(400), Math.floor(24 * random())];
    const liking = 1.5 * nature(user, 1) + 2 * nature(item, 2) + 2 * nature(user, 3) * nature(item, 3) - 1;
    lines.push(`${random() < 1 / (1 + Math.exp(-liking)) ? 1 : 0},${hour},u${user},i${item}`);
  }
  Deno.writeTextFileSync(`${folder}/day${day}.csv`, lines.join("\n") + "\n");
}

/** An object that a command prints with --json. */
type Line = Record<string, unknown>;

/** Prints and starts a command of Hotset. */
function start(args: readonly string[], options: Deno.CommandOptions): Deno.ChildProcess {
  console.log(`$ hotset ${args.join(" ")}`);
  const cli = new URL("../cli.ts", import.meta.url).pathname;
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--cached-only", cli, ...args, "--json", "--quiet"],
    ...{ stdout: "piped", stderr: "piped", ...options },
  }).spawn();
}

/** Runs a command of Hotset to its end, which must succeed, and returns what it prints. */
async function hotset(args: readonly string[], options: Deno.CommandOptions = { cwd: folder }): Promise<Line[]> {
  const output = await start(args, options).output();
  const [stdout, stderr] = [output.stdout, output.stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (!output.success) throw new Error(`hotset ${args.join(" ")}: ${stderr}${stdout}`);
  return stdout.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
}

/** The server of the week's model, and a client that never stops asking it. */
class Server implements AsyncDisposable {
  #closing = false;
  readonly #process: Deno.ChildProcess;
  readonly #url: string;
  readonly #client: Promise<number>;

  private constructor(process: Deno.ChildProcess, url: string) {
    this.#process = process;
    this.#url = url;
    this.#client = this.#ask();
  }

  static async start(model: string): Promise<Server> {
    const process = start(["serve", model, "--port", "0"], { cwd: folder, stderr: "inherit" });
    const { value } = await process.stdout.getReader().read();
    return new Server(process, JSON.parse(new TextDecoder().decode(value)).url);
  }

  /** Asks until the server is closed, and returns how many answers came. */
  async #ask(): Promise<number> {
    let answers = 0;
    for (; !this.#closing; answers++) {
      await this.score([{ hour: 12, user: `u${answers % 1500}`, item: `i${answers % 400}` }]);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return answers;
  }

  async #post(path: string, body?: string) {
    const response = await fetch(this.#url + path, { method: "POST", body: body ?? null });
    if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
    return await response.json();
  }

  /** Click probabilities of rows. */
  score(rows: readonly Line[]): Promise<number[]> {
    return this.#post("/score", JSON.stringify(rows));
  }

  /** Loads the model that has replaced the one in use. */
  async swap(): Promise<void> {
    console.log("$ curl -X POST $URL/reload");
    if (!(await this.#post("/reload")).reloaded) throw new Error("the server has kept its model");
  }

  /** Ends the server as a service manager would. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    console.log(`The server has answered ${await this.#client} requests, and refused none`);
    this.#process.kill("SIGTERM");
    const { code } = await this.#process.status;
    if (code !== 0) throw new Error(`serve ended with status ${code}`);
  }
}

Deno.mkdirSync(folder, { recursive: true });
const columns = [
  { name: "clicked", kind: "label" },
  { name: "hour", kind: "dense", transform: "none" },
  { name: "user", kind: "sparse" },
  { name: "item", kind: "sparse" },
];
Deno.writeTextFileSync(`${folder}/schema.json`, JSON.stringify({ columns }));
const options = {
  ...{ format: "csv", schema: "schema.json", "test-fraction": 0, mode: "cpu" },
  ...{ "arch-sparse-feature-size": 16, "arch-mlp-bot": [1, 16, 16], "arch-mlp-top": [32, 1] },
  ...{ optimizer: "adagrad", "batch-size": 128, "learning-rate": 0.03, epochs: 2 },
};
Deno.writeTextFileSync(`${folder}/train.json`, JSON.stringify(options));
for (let day = 0; day <= DAYS; day++) writeDay(day);

const train = (name: string, logs: readonly string[], from?: string) =>
  hotset(["train", ...logs, ...(from === undefined ? [] : ["--from", from]), "--config", "train.json", "--out", name]);
const aucOn = async (model: string, log: string, options?: Deno.CommandOptions) =>
  (await hotset(["evaluate", model, log], options)).at(-1)!.auc as number;

const rounded = (auc: number) => Number(auc.toFixed(4));
const table = [];
let server: Server | undefined;
for (let day = 0; day < DAYS; day++) {
  const [today, tomorrow] = [`day${day}.csv`, `day${day + 1}.csv`];
  await train(`grown${day}`, [today], day === 0 ? undefined : `grown${day - 1}`);
  await hotset(["pack", `grown${day}`, "model.hotset"]);
  if (server === undefined) server = await Server.start("model.hotset");
  else await server.swap();

  const grown = await aucOn(`grown${day}`, tomorrow);
  let [alone, all] = [grown, grown]; // on the first day there is only one model
  if (day > 0) {
    await train(`alone${day}`, [today]);
    await train(`all${day}`, Array.from({ length: day + 1 }, (_, earlier) => `day${earlier}.csv`));
    [alone, all] = [await aucOn(`alone${day}`, tomorrow), await aucOn(`all${day}`, tomorrow)];
  }
  table.push({ day: day + 1, grown: rounded(grown), alone: rounded(alone), all: rounded(all) });
}

const tomorrow = `day${DAYS}.csv`;
const rows = Deno.readTextFileSync(`${folder}/${tomorrow}`).trimEnd().split("\n").slice(1).map((line) => {
  const [, hour, user, item] = line.split(",");
  return { hour, user, item };
});
const served = await server!.score(rows.slice(0, 1000));
await server![Symbol.asyncDispose]();
const removed = (await hotset(["clean", "--yes"])).at(-1)!.bytes;
console.log(`clean has removed ${removed} bytes that no run needs`);
const expected = await aucOn(`grown${DAYS - 1}`, tomorrow);

// The model leaves the week behind, with tomorrow's clicks alone.
const elsewhere = Deno.makeTempDirSync();
Deno.chmodSync(elsewhere, 0o755);
for (const file of ["model.hotset", tomorrow]) Deno.copyFileSync(`${folder}/${file}`, `${elsewhere}/${file}`);
Deno.removeSync(folder, { recursive: true });

/** Another user where the system allows it: root can act as one, if that one can read Deno and this checkout. */
async function otherUser(): Promise<Deno.CommandOptions> {
  const here = { cwd: elsewhere };
  if (Deno.uid() !== 0) return here;
  const other = { ...here, uid: NOBODY, gid: NOBODY, env: { HOME: elsewhere } };
  try {
    await hotset(["runs"], other);
    return other;
  } catch (error) {
    console.log(`As this user, because user ${NOBODY} cannot start Hotset: ${error}`.split("\n")[0]);
    return here;
  }
}

const user = await otherUser();
const auc = await aucOn("model.hotset", tomorrow, user);
const scores = (await hotset(["predict", "model.hotset", tomorrow, "--blas", "wasm"], user))
  .filter(({ event }) => event === "score");
Deno.removeSync(elsewhere, { recursive: true });
if (auc !== expected) throw new Error(`AUC ${auc} elsewhere, and ${expected} here`);
const written = served.map((probability) => Number(probability.toPrecision(7))); // the digits that predict writes
if (written.some((probability, row) => probability !== scores[row].probability)) throw new Error("other scores");
console.log(`User ${user.uid ?? Deno.uid()} has scored without the week, with the same AUC and the server's scores`);
console.table(table);
