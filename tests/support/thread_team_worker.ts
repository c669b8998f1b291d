/** One thread of a team that makes a layout. */
/// <reference lib="deno.worker" />
import { Dataset } from "../../src/dataset/dataset.ts";
import { buildLayout } from "../../src/layout/build_layout.ts";
import { Profile } from "../../src/profile/profile.ts";
import { type LayoutTask, ThreadTeam, type ThreadTeamMemory } from "./thread_team.ts";

self.onmessage = ({ data }: MessageEvent<{ team: ThreadTeamMemory; task: LayoutTask }>) => {
  const { dataset, profile, ...options } = data.task;
  let error: string | undefined;
  try {
    const team = new ThreadTeam(data.team);
    using _layout = buildLayout(
      Dataset.open(dataset, "lengths"),
      profile === undefined ? undefined : Profile.open(profile),
      { ...options, team },
    );
  } catch (thrown) {
    error = `${thrown}`;
  }
  postMessage({ error });
};
