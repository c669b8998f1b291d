/** Thirty days of a growing model. */
import { growingDays } from "../support/growing_days.ts";

for (const format of ["csv", "criteo"] as const) {
  Deno.test(`ids keep their meaning over 30 days with drift: ${format}`, () => growingDays(format, 30));
}
