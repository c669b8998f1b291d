/** Thread that reads batches for a ReadAhead. */
import { serveRing } from "../threads/work_ring.ts";
import { readingFrom } from "./read_ahead.ts";

serveRing(readingFrom);
