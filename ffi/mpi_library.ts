/**
 * The MPI library of a machine: its functions, its constants, and the launcher that started this process. One symbol
 * table serves Open MPI and MPICH: handles are addresses in Open MPI and 32-bit integers in MPICH, and both fit in a
 * 64-bit register.
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

/** Values of the standard's constants in one library. */
export interface MpiConstants {
  readonly world: bigint;
  readonly byte: bigint;
  readonly float: bigint;
  readonly errorsReturn: bigint;
  readonly statusIgnore: bigint;
}

/** Constants of MPICH and of all libraries with its binary interface. */
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

/** Environment variables in which launchers pass the number of processes, and the library of each launcher. */
const LAUNCHERS = [
  { mpich: false, ranks: "OMPI_COMM_WORLD_SIZE" },
  { mpich: true, ranks: "PMI_SIZE" },
  { mpich: false, ranks: "SLURM_NTASKS" },
] as const;

/** The number of processes that a launcher started (1 without a launcher), and whether its library is MPICH. */
export function launched(): { ranks: number; mpich: boolean } {
  for (const { mpich, ranks } of LAUNCHERS) {
    const count = Number(Deno.env.get(ranks));
    if (count > 0) return { ranks: count, mpich };
  }
  return { ranks: 1, mpich: false };
}

/**
 * Number of processes that mpirun started together with this one; 1 without mpirun or without permission to read the
 * environment.
 */
export function mpirunProcesses(): number {
  try {
    // Slurm also sets its variable for a program that it starts only once.
    const { ranks, mpich } = launched();
    return !mpich && Deno.env.get("OMPI_COMM_WORLD_SIZE") === undefined ? 1 : ranks;
  } catch {
    return 1;
  }
}

/** The library of one implementation, and where to look for it. */
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
