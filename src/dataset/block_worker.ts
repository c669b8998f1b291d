/** Thread that computes blocks for a BlockRing. */
import { serveRing } from "../threads/work_ring.ts";
import { drawingOf } from "./block_ring.ts";

serveRing(drawingOf);
