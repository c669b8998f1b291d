/**
 * A week of a model that grows: deno run -A examples/week.ts week
 *
 * Every day brings a log with new users and items. Each day's model begins with yesterday's, and tomorrow's clicks are
 * predicted; beside it, a model is trained from scratch on the day alone, and one on all days so far. In the end the
 * model is packed into one file, moved away from everything else, and scores.
 */
import { evaluateRun, openModel, packRun } from "@hotset/hotset/score";
import { resolveConfig, trainOn } from "@hotset/hotset/train";

const [folder = "week", rows = "20000"] = Deno.args;
const DAYS = 7;

let state = 1;
const random = () => (state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff) / 0x80000000;
/** A number below `count`; small ones are popular. */
const popular = (count: number) => Math.floor(count * random() ** 3);
/** What a user or an item is like: a number from -1 to 1 that belongs to its own number. */
const nature = (n: number, of: number) => Math.sin(n * 12.9898 + of * 78.233);

/** Writes the clicks of a day. Users and items come and go: their numbers rise from day to day. */
function writeDay(day: number): string {
  const lines = ["clicked,hour,user,item"];
  for (let i = 0; i < Number(rows); i++) {
    const [user, item, hour] = [150 * day + popular(1500), 40 * day + popular(400), Math.floor(24 * random())];
    const liking = 1.5 * nature(user, 1) + 2 * nature(item, 2) + 2 * nature(user, 3) * nature(item, 3) - 1;
    lines.push(`${random() < 1 / (1 + Math.exp(-liking)) ? 1 : 0},${hour},u${user},i${item}`);
  }
  const file = `${folder}/day${day}.csv`;
  Deno.writeTextFileSync(file, lines.join("\n") + "\n");
  return file;
}

Deno.mkdirSync(folder, { recursive: true });
const schema = `${folder}/schema.json`;
const columns = [
  { name: "clicked", kind: "label" },
  { name: "hour", kind: "dense", transform: "none" },
  { name: "user", kind: "sparse" },
  { name: "item", kind: "sparse" },
];
Deno.writeTextFileSync(schema, JSON.stringify({ columns }));
const raw = { format: "csv", schema, testFraction: 0 } as const;
const config = resolveConfig("default", {
  ...{ mode: "cpu", dim: 16, bottom: [16, 16], top: [32, 1] },
  ...{ optimizer: "adagrad", batchSize: 128, learningRate: 0.03, epochs: 2 },
});

const days = Array.from({ length: DAYS + 1 }, (_, day) => writeDay(day));
const train = (name: string, inputs: string[], from?: string) =>
  trainOn(inputs, raw, config, { out: `${folder}/${name}`, report: () => {}, ...(from && { from }) });

const table = [];
let yesterday: string | undefined;
for (let day = 0; day < DAYS; day++) {
  const [grown, alone, all] = [`grown${day}`, `alone${day}`, `all${day}`];
  await train(grown, [days[day]], yesterday);
  await train(alone, [days[day]]);
  await train(all, days.slice(0, day + 1));
  const tomorrow = async (name: string) => {
    const [{ auc }] = await evaluateRun(`${folder}/${name}`, [days[day + 1]], () => {});
    return Number(auc.toFixed(4));
  };
  table.push({ day: day + 1, grown: await tomorrow(grown), alone: await tomorrow(alone), all: await tomorrow(all) });
  yesterday = `${folder}/${grown}`;
}
console.table(table);

const packed = Deno.makeTempFileSync({ suffix: ".hotset" });
packRun(yesterday!, packed, () => {});
Deno.removeSync(folder, { recursive: true });
using served = await openModel(packed);
const [probability] = served.score([{ hour: 12, user: `u${150 * DAYS}`, item: `i${40 * DAYS}` }]);
console.log(`${Deno.statSync(packed).size} bytes without the week: ${probability.toFixed(4)}`);
Deno.removeSync(packed);
