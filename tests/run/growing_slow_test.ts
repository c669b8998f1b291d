/** Thirty days of a growing model. */
import { growingDays } from "../support/growing_days.ts";

for (const format of ["csv", "criteo"] as const) {
  Deno.test(`ids keep their meaning over 30 days with drift: ${format}`, () => growingDays(format, 30));
  Deno.test(`rows unseen for 3 days are dropped, and no number is used again, over 30 days with drift: ${format}`, () =>
    growingDays(format, 30, 3));
}
