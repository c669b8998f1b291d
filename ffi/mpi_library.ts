/**
 * The MPI library of a machine: its functions, its constants, and the launcher that started this process. One symbol
 * table serves Open MPI and MPICH: handles are addresses in Open MPI and 32-bit integers in MPICH, and both fit in a
 * 64-bit register.
 */
import { declare } from "./declare.ts";
import { homebrewFolders, type LibraryRequest } from "./library.ts";

const symbols = declare({
  MPI_Init_thread: ["i32", "usize argc", "usize argv", "i32 required", "buffer provided"],
  MPI_Finalize: ["i32"],
  MPI_Abort: ["i32", "u64 comm", "i32 errorcode"],
  MPI_Get_library_version: ["i32", "buffer version", "buffer length"],
  MPI_Get_processor_name: ["i32", "buffer name", "buffer length"],
  MPI_Error_string: ["i32", "i32 errorcode", "buffer string", "buffer length"],
  MPI_Comm_set_errhandler: ["i32", "u64 comm", "u64 handler"],
  MPI_Comm_rank: ["i32", "u64 comm", "buffer rank"],
  MPI_Comm_size: ["i32", "u64 comm", "buffer size"],
  MPI_Comm_split: ["i32", "u64 comm", "i32 color", "i32 key", "buffer newcomm"],
  MPI_Ibarrier: ["i32", "u64 comm", "buffer request"],
  MPI_Iallgatherv: [
    "i32",
    "buffer source",
    "i32 count",
    "u64 type",
    "buffer target",
    "buffer counts",
    "buffer firsts",
    "u64 type",
    "u64 comm",
    "buffer request",
  ],
  MPI_Ialltoallv: [
    "i32",
    "buffer source",
    "buffer counts",
    "buffer firsts",
    "u64 type",
    "buffer target",
    "buffer counts",
    "buffer firsts",
    "u64 type",
    "u64 comm",
    "buffer request",
  ],
  MPI_Iprobe: ["i32", "i32 source", "i32 tag", "u64 comm", "buffer flag", "usize status"],
  MPI_Test: ["i32", "buffer request", "buffer flag", "usize status"],
  ompi_mpi_comm_world: { type: "pointer", optional: true },
  ompi_mpi_byte: { type: "pointer", optional: true },
  ompi_mpi_float: { type: "pointer", optional: true },
  ompi_mpi_errors_return: { type: "pointer", optional: true },
});

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
