/** Whole runs on a disk with read errors. More faults: row_faults_slow_test.ts. */
import assert from "node:assert/strict";
import { HotsetError } from "../../src/errors.ts";
import { resumeRun, startRun } from "../../src/run/run.ts";
import { checkpointsOf } from "../support/checkpoint_words.ts";
import { failStores } from "../support/failing_store.ts";
import { CONFIG, dataOf, quiet } from "../support/row_runs.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const config = { ...CONFIG, checkpointSteps: 10, keep: 1 };
const memory = { share: 0.02 };

Deno.test("a read error ends a run with one line; it goes on from its last checkpoint with the same bits", async () => {
  using place = new TemporaryDirectory();
  const dataset = dataOf(place);
  const [plain, out] = ["plain", "run"].map((name) => place.join(name));
  await startRun(config, dataset, { out: plain, report: quiet });
  {
    using _ = failStores({ after: 30, kind: "error" }); // of about 120
    const error = await startRun({ ...config, memory }, dataset, { out, report: quiet })
      .then(() => assert.fail("it trained"), (error) => error);
    assert.ok(error instanceof HotsetError, error);
    assert.match(
      error.message,
      /^Cannot read rows from [^\n]*\.log at byte \d+: the disk reports an error; the last good checkpoint is [^\n]*$/,
    );
    assert.ok(error.message.endsWith(`: continue with train --resume --out ${out}`), error.message);
  }
  {
    using _ = failStores({ after: 0, kind: "error" }); // the rows of the checkpoint itself
    await assert.rejects(
      resumeRun({ out, report: quiet }),
      (error) => error instanceof HotsetError && /^Cannot [^\n]*the disk reports an error[^\n]*$/.test(error.message),
    );
  }
  await resumeRun({ out, report: quiet });
  assert.deepEqual(checkpointsOf(out), checkpointsOf(plain));
  // The rows of both runs that failed are gone.
  assert.deepEqual([...Deno.readDirSync(out)].map(({ name }) => name).filter((name) => name.startsWith(".")), []);
});
