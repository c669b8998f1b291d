/** Thread that reads batches for a ReadAhead. */
import { type ReadThreadInput, runReadThread } from "./read_ahead.ts";

addEventListener("message", (event) => {
  runReadThread((event as MessageEvent<ReadThreadInput>).data);
  close();
});
