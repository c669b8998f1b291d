/** Chart of a report: predicted probabilities beside observed clicks. */
import * as Plot from "@observablehq/plot";
import type { EvaluationEvent } from "../../events/events.ts";
import { percent } from "../../format.ts";
import { drawChart } from "./draw.ts";
import { details, escape, htmlTable, type Section } from "./page.ts";

/** The calibration of an evaluation, by deciles of its predictions. */
export async function calibrationSection({ deciles, split, calibration }: EvaluationEvent): Promise<Section> {
  const most = Math.max(...deciles.flatMap(({ predicted, observed }) => [predicted, observed]));
  const top = Math.min(1, 1.05 * most);
  const decimals = top < 0.1 ? 1 : 0;
  const scale = {
    domain: [0, top],
    ticks: 5,
    tickFormat: (share: number) => `${(100 * share).toFixed(decimals)} %`,
  };
  const chart = await drawChart("Observed share of positives by predicted probability", (_, narrow) => ({
    marginTop: 22,
    marginLeft: 52,
    marginRight: 16,
    marginBottom: 40,
    height: narrow ? 260 : 300,
    x: { ...scale, label: "predicted →", labelOffset: 34 },
    y: { ...scale, label: "↑ observed", grid: true },
    marks: [
      Plot.line([[0, 0], [top, top]], { stroke: "var(--ink)", strokeDasharray: "4 3" }),
      Plot.line(deciles, { x: "predicted", y: "observed", stroke: "var(--third)", strokeWidth: 2 }),
      Plot.dot(deciles, {
        x: "predicted",
        y: "observed",
        fill: "var(--third)",
        r: ({ share }: typeof deciles[number]) => Math.sqrt(share),
        title: ({ share, predicted, observed }: typeof deciles[number]) =>
          `${percent(share)} of the samples: predicted ${percent(predicted)}, observed ${percent(observed)}`,
      }),
    ],
    r: { domain: [0, Math.sqrt(0.1)], range: [0, 5] },
  }));
  return {
    title: "Calibration",
    text: escape(
      `Predicted probability and observed share of positives of the ${split} split, in ${deciles.length} groups of ` +
        `samples by ascending prediction. On the dashed line they are equal. Over all samples, predictions are ` +
        `${calibration.toFixed(3)} times the positives.`,
    ),
    body: chart + details(
      "The numbers",
      htmlTable(
        ["samples", "predicted", "observed"],
        deciles.map((decile) => [decile.share, decile.predicted, decile.observed].map(percent)),
      ),
    ),
  };
}
