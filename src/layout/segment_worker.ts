/** Body of the thread that writes segment lists for a PackRing. */
import { SegmentThread, type SegmentThreadInput } from "./pack_ring.ts";

addEventListener("message", (event) => {
  new SegmentThread((event as MessageEvent<SegmentThreadInput>).data).run();
  close();
});
