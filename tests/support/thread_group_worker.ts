/** A thread of a group that builds a layout. */
/// <reference lib="deno.worker" />
import { Dataset } from "../../src/dataset/dataset.ts";
import { buildLayout } from "../../src/layout/build_layout.ts";
import { ThreadGroup } from "../../src/parallel/threads.ts";
import { Profile } from "../../src/profile/profile.ts";
import type { LayoutTask, ThreadStart } from "./thread_group.ts";

self.onmessage = async ({ data }: MessageEvent<ThreadStart<LayoutTask>>) => {
  const { dataset, profile, ...options } = data.task;
  const group = new ThreadGroup(data.memory, data.rank);
  let error: string | undefined;
  try {
    using _layout = await buildLayout(
      Dataset.open(dataset, "lengths"),
      profile === undefined ? undefined : Profile.open(profile),
      { ...options, group },
    );
  } catch (thrown) {
    error = `${thrown}`;
    if (thrown !== group.failure) group.abort(thrown);
  }
  postMessage({ result: error });
};
