/** mpi_training.ts, where the disk of the second host's rows fails. */
import { failStores } from "./failing_store.ts";

if (Deno.env.get("HOTSET_HOST") === "host-1") failStores({ after: 60, kind: "error" });
await import("./mpi_training.ts");
