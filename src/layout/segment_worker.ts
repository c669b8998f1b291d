/** Thread that computes lists of segments for a PackRing. */
import { runSegmentThread, type SegmentThreadInput } from "./pack_ring.ts";

addEventListener("message", (event) => {
  runSegmentThread((event as MessageEvent<SegmentThreadInput>).data);
  close();
});
