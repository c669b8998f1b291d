/** Body of the threads that draw blocks for a BlockRing. */
import { type DrawingInput, runDrawingThread } from "./block_ring.ts";

addEventListener("message", (event) => {
  runDrawingThread((event as MessageEvent<DrawingInput>).data);
  close();
});
