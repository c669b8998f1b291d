/** One thread of a group that is checked. Posts its error, or undefined. */
/// <reference lib="deno.worker" />
import { ThreadGroup } from "../../src/parallel/threads.ts";
import { checkGroup } from "./check_group.ts";
import type { ThreadStart } from "./thread_group.ts";

self.onmessage = ({ data: { memory, rank } }: MessageEvent<ThreadStart<undefined>>) => {
  const group = new ThreadGroup(memory, rank);
  checkGroup(group).then(() => postMessage({ result: undefined }), (error) => {
    group.abort(error);
    postMessage({ result: `${error.stack}` });
  });
};
