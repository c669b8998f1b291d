/**
 * Trains an epoch of TBSM on generated sessions with Hotset and with PyTorch, from the same initial parameters on the same
 * batches, and writes the table of docs/paper.md. The tables of Taobao are divided by 50.
 *
 *     deno run -A tools/evidence/tbsm_epoch.ts [--seeds N]      3 seeds at 2 rates, a minute each
 *
 * Needs python3 with torch.
 */
import { parseArgs } from "node:util";
import { tbsmEpoch } from "../../tests/golden/tbsm_epoch.ts";
import { TemporaryDirectory } from "../../tests/support/temporary.ts";
import { writeTable } from "../page_table.ts";
import { processor } from "../processor.ts";
import { commitOfCode } from "./evidence.ts";

const SIZES = { scale: 50, train: 60_000, test: 15_000 };
/** The published rate, and one at which rounding changes less. */
const RATES = [0.05, 0.005];

const { values: { seeds } } = parseArgs({ options: { seeds: { type: "string", default: "3" } } });
const signed = (value: number) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(5)}`;
const line = (cells: readonly (string | number)[]) => `| ${cells.join(" | ")} |`;

const others = ["Hotset", "double"];
const columns = ["rate", "seed", "logloss", ...others, "accuracy", ...others, "AUC", ...others];
const rows = [line(columns), line(columns.map(() => "---"))];
for (const learningRate of RATES) {
  for (let seed = 1; seed <= Number(seeds); seed++) {
    using directory = new TemporaryDirectory();
    const { hotset, pytorch } = await tbsmEpoch(directory, { ...SIZES, seed, learningRate });
    const [single, double] = [await pytorch(false), await pytorch(true)];
    const cells = (["logloss", "accuracy", "auc"] as const).flatMap((metric) => {
      const expected = single[metric];
      return [expected.toFixed(4), signed(hotset[metric] - expected), signed(double[metric] - expected)];
    });
    rows.push(line([learningRate, seed, ...cells]));
    console.log(rows.at(-1));
  }
}
const about = `Commit ${commitOfCode().slice(0, 7)}; ${processor()}.`;
writeTable("docs/paper.md", "evidence tbsm", `${rows.join("\n")}\n\n${about}`);
