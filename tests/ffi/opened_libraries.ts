/** Opens OpenBLAS as a backend would and prints the result and all files that are mapped into the process, as JSON. */
import { LibraryError } from "../../ffi/library.ts";
import { openOpenBlas } from "../../ffi/openblas.ts";

let result: string;
try {
  result = openOpenBlas().path;
} catch (error) {
  if (!(error instanceof LibraryError)) throw error;
  result = error.message;
}
const mapped = Deno.readTextFileSync("/proc/self/maps").split("\n").flatMap((line) => /\/.*$/.exec(line)?.[0] ?? []);
console.log(JSON.stringify({ result, mapped }));
