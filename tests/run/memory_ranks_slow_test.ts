/** Several ranks with rows on disk. */
import { CONFIG, interruptAgainAndAgain } from "../support/row_runs.ts";

for (const ranks of [2, 3]) {
  Deno.test(`an interrupted run of ${ranks} ranks goes on within other memory with the same bits`, async () => {
    await interruptAgainAndAgain({ ...CONFIG, ranks });
  });
}
