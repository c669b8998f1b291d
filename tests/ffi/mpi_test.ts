/** Debian's MPI libraries have all functions that are called, and every operation works between processes. */
import assert from "node:assert/strict";
import { mpiRequest } from "../../ffi/mpi_library.ts";
import { LibraryError, openLibrary } from "../../ffi/library.ts";
import { LAUNCHERS, runMpi, testWithEach } from "../support/mpirun.ts";

const OPERATIONS = new URL("../support/mpi_operations.ts", import.meta.url);

testWithEach("the library has all symbols", ({ name }) => {
  const { symbols } = openLibrary(mpiRequest(name === "MPICH"));
  const functions = Object.entries(symbols).filter(([symbol]) => symbol.startsWith("MPI_"));
  for (const [symbol, value] of functions) assert.equal(typeof value, "function", symbol);
  assert.ok(functions.length > 10, `${functions.length} functions`);
  // Handles are data in the one and numbers in the other.
  assert.equal(symbols.ompi_mpi_comm_world === null, name === "MPICH");
});

for (const ranks of [2, 3]) {
  testWithEach(`every operation between ${ranks} processes`, async (launcher) => {
    const { code, stdout, stderr } = await runMpi(launcher, [ranks], OPERATIONS, []);
    assert.equal(code, 0, stderr);
    const lines = stdout.trim().split("\n").map((line) => line.trim()).sort();
    assert.deepEqual(lines, Array.from({ length: ranks }, (_, r) => `rank ${r} of ${ranks} is done`));
  });
}

const [openMpi, mpich] = LAUNCHERS;
const both = openMpi.mpirun !== undefined && mpich.mpirun !== undefined;
Deno.test({
  name: "the library of another mpirun is told apart" + (both ? "" : `${openMpi.skipped}${mpich.skipped}`),
  ignore: !both,
  async fn() {
    const { path } = openLibrary(mpiRequest(false));
    const folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"];
    const library = folders.map((folder) => `${folder}/${path}`).find((file) => {
      try {
        return Deno.statSync(file).isFile;
      } catch {
        return false;
      }
    });
    assert.ok(library !== undefined, path);
    const { code, stderr } = await runMpi(mpich, [2], OPERATIONS, [], { HOTSET_MPI: library });
    assert.notEqual(code, 0);
    assert.match(
      stderr,
      /2 processes were started, but .* sees only one: it belongs to another mpirun; set HOTSET_MPI/,
    );
  },
});

Deno.test("without a library the error lists every try and how to install one", () => {
  assert.throws(
    () => openLibrary({ ...mpiRequest(false), names: ["libmpi-that-is-not-there.so"], folders: [] }),
    (error) =>
      error instanceof LibraryError && /apt-get install openmpi-bin/.test(error.message) && error.tries.length === 1,
  );
});
