/**
 * The MPI library of a machine: its symbols, its constants, and which launcher started this process. One table serves
 * Open MPI and MPICH: handles are addresses in the one and 32-bit integers in the other, and both travel in a 64-bit
 * register.
 */
import { homebrewFolders, type LibraryRequest } from "./library.ts";

const symbols = {
  MPI_Init_thread: {
    parameters: [
      "usize", // int *argc
      "usize", // char ***argv
      "i32", // int required
      "buffer", // int *provided
    ],
    result: "i32",
  },
  MPI_Finalize: { parameters: [], result: "i32" },
  MPI_Abort: { parameters: ["u64", /* MPI_Comm comm */ "i32" /* int errorcode */], result: "i32" },
  MPI_Get_library_version: { parameters: ["buffer", /* char *version */ "buffer" /* int *length */], result: "i32" },
  MPI_Get_processor_name: { parameters: ["buffer", /* char *name */ "buffer" /* int *length */], result: "i32" },
  MPI_Error_string: {
    parameters: ["i32", /* int errorcode */ "buffer", /* char *string */ "buffer" /* int *length */],
    result: "i32",
  },
  MPI_Comm_set_errhandler: {
    parameters: ["u64", /* MPI_Comm comm */ "u64" /* MPI_Errhandler handler */],
    result: "i32",
  },
  MPI_Comm_rank: { parameters: ["u64", /* MPI_Comm comm */ "buffer" /* int *rank */], result: "i32" },
  MPI_Comm_size: { parameters: ["u64", /* MPI_Comm comm */ "buffer" /* int *size */], result: "i32" },
  MPI_Comm_split: {
    parameters: [
      "u64", // MPI_Comm comm
      "i32", // int color
      "i32", // int key
      "buffer", // MPI_Comm *newcomm
    ],
    result: "i32",
  },
  MPI_Ibarrier: { parameters: ["u64", /* MPI_Comm comm */ "buffer" /* MPI_Request *request */], result: "i32" },
  MPI_Ibcast: {
    parameters: [
      "buffer", // void *buffer
      "i32", // int count
      "u64", // MPI_Datatype type
      "i32", // int root
      "u64", // MPI_Comm comm
      "buffer", // MPI_Request *request
    ],
    result: "i32",
  },
  MPI_Iallgatherv: {
    parameters: [
      "buffer", // const void *source
      "i32", // int count
      "u64", // MPI_Datatype type
      "buffer", // void *target
      "buffer", // const int counts[]
      "buffer", // const int firsts[]
      "u64", // MPI_Datatype type
      "u64", // MPI_Comm comm
      "buffer", // MPI_Request *request
    ],
    result: "i32",
  },
  MPI_Ialltoallv: {
    parameters: [
      "buffer", // const void *source
      "buffer", // const int counts[]
      "buffer", // const int firsts[]
      "u64", // MPI_Datatype type
      "buffer", // void *target
      "buffer", // const int counts[]
      "buffer", // const int firsts[]
      "u64", // MPI_Datatype type
      "u64", // MPI_Comm comm
      "buffer", // MPI_Request *request
    ],
    result: "i32",
  },
  MPI_Iprobe: {
    parameters: [
      "i32", // int source
      "i32", // int tag
      "u64", // MPI_Comm comm
      "buffer", // int *flag
      "usize", // MPI_Status *status
    ],
    result: "i32",
  },
  MPI_Test: {
    parameters: [
      "buffer", // MPI_Request *request
      "buffer", // int *flag
      "usize", // MPI_Status *status
    ],
    result: "i32",
  },
  ompi_mpi_comm_world: { type: "pointer", optional: true },
  ompi_mpi_byte: { type: "pointer", optional: true },
  ompi_mpi_float: { type: "pointer", optional: true },
  ompi_mpi_errors_return: { type: "pointer", optional: true },
} as const satisfies Deno.ForeignLibraryInterface;

/** The functions of an opened library. */
export type MpiSymbols = Deno.StaticForeignLibraryInterface<typeof symbols>;

/** What the standard's constants are in one library. */
export interface MpiConstants {
  readonly world: bigint;
  readonly byte: bigint;
  readonly float: bigint;
  readonly errorsReturn: bigint;
  readonly statusIgnore: bigint;
}

/** The numbers that MPICH and all that share its binary interface agree on. */
const MPICH: MpiConstants = {
  world: 0x44000000n,
  byte: 0x4c00010dn,
  float: 0x4c00040an,
  errorsReturn: 0x54000001n,
  statusIgnore: 1n,
};

/** The constants of an opened library. */
export function constantsOf(mpi: MpiSymbols): MpiConstants {
  const { ompi_mpi_comm_world, ompi_mpi_byte, ompi_mpi_float } = mpi;
  if (ompi_mpi_comm_world === null) return MPICH;
  const at = (pointer: Deno.PointerValue) => BigInt(Deno.UnsafePointer.value(pointer));
  return {
    world: at(ompi_mpi_comm_world),
    byte: at(ompi_mpi_byte),
    float: at(ompi_mpi_float),
    errorsReturn: at(mpi.ompi_mpi_errors_return),
    statusIgnore: 0n,
  };
}

/** What launchers tell the processes they start: how many there are, and whose launcher it is. */
const LAUNCHERS = [
  { mpich: false, ranks: "OMPI_COMM_WORLD_SIZE" },
  { mpich: true, ranks: "PMI_SIZE" },
  { mpich: false, ranks: "SLURM_NTASKS" },
] as const;

/** How many processes a launcher says it started, 1 if none did, and the library that belongs to it. */
export function launched(): { ranks: number; mpich: boolean } {
  for (const { mpich, ranks } of LAUNCHERS) {
    const count = Number(Deno.env.get(ranks));
    if (count > 0) return { ranks: count, mpich };
  }
  return { ranks: 1, mpich: false };
}

/** Processes that an mpirun started together with this one; 1 if it was none, or if that may not be asked. */
export function mpirunProcesses(): number {
  try {
    // Slurm says how many it would start, also to a program that it started once.
    const { ranks, mpich } = launched();
    return !mpich && Deno.env.get("OMPI_COMM_WORLD_SIZE") === undefined ? 1 : ranks;
  } catch {
    return 1;
  }
}

/** Where the libraries of one implementation lie. */
export function mpiRequest(mpich: boolean): LibraryRequest<typeof symbols> {
  const openMpi = ["libmpi.so.40", "libmpi.40.dylib"];
  const other = ["libmpich.so.12", "libmpi.so.12", "libmpi.12.dylib"];
  return {
    name: "MPI",
    environment: "HOTSET_MPI",
    names: mpich ? [...other, ...openMpi] : [...openMpi, ...other],
    folders: [
      ...["/usr/lib64/openmpi/lib", "/usr/lib64/mpich/lib", "/usr/local/lib"],
      ...homebrewFolders(mpich ? "mpich" : "open-mpi"),
    ],
    symbols,
    install: "apt-get install openmpi-bin (or mpich), dnf install openmpi, or brew install open-mpi",
  };
}
