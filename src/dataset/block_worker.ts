/** Thread that computes blocks for a BlockRing. */
import { type DrawingInput, runDrawingThread } from "./block_ring.ts";

addEventListener("message", (event) => {
  runDrawingThread((event as MessageEvent<DrawingInput>).data);
  close();
});
