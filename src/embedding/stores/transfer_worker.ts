/** Thread of ThreadTransfers. */
import { serveRing } from "../../threads/work_ring.ts";
import { transferring } from "./thread_transfers.ts";

serveRing(transferring);
