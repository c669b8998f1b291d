/** Scores new rows with a run's best checkpoint and prints the best ten: deno run -A examples/score.ts run clicks.csv */
import { HotsetError } from "@hotset/hotset";
import { predictRun } from "@hotset/hotset/score";

const [run, file] = Deno.args;

try {
  // From 20 % of values that training never saw, scores would say little.
  const probabilities = await predictRun(run, [file], { maxUnknown: 0.2 }, () => {});
  const [, ...rows] = Deno.readTextFileSync(file).trimEnd().split("\n");
  const best = rows.map((row, i) => ({ row, probability: probabilities[i] }))
    .sort((a, b) => b.probability - a.probability);
  for (const { row, probability } of best.slice(0, 10)) console.log(`${probability.toFixed(4)}  ${row}`);
} catch (error) {
  if (!(error instanceof HotsetError)) throw error; // a defect
  console.error(error.message);
  Deno.exit(1);
}
