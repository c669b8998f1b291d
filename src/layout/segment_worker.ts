/** Thread that computes lists of segments for a PackRing. */
import { serveRing } from "../threads/work_ring.ts";
import { packing } from "./pack_ring.ts";

serveRing(packing);
