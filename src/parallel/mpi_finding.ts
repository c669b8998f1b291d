/** Whether this machine has MPI, as text. */
import { mpiVersion } from "../../ffi/mpi.ts";
export { mpirunProcesses } from "../../ffi/mpi_library.ts";
import { messageOf } from "../errors.ts";

/**
 * The library that `--collective mpi` would use: its version and path, or the command that installs one. Never throws.
 */
export function mpiFinding(): { name: string; found: boolean; detail: string } {
  try {
    const { version, path } = mpiVersion();
    return { name: "MPI", found: true, detail: `${version}, ${path}` };
  } catch (error) {
    return { name: "MPI", found: false, detail: messageOf(error) };
  }
}
