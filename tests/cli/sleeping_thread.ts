/** A worker that blocks in a foreign call for a minute. */
/// <reference lib="deno.worker" />
import { openLibrary } from "../../ffi/library.ts";

const symbols = { sleep: { parameters: ["u32"], result: "u32" } } as const satisfies Deno.ForeignLibraryInterface;
const c = openLibrary({
  name: "C",
  environment: "HOTSET_TEST_LIBRARY",
  names: ["libc.so.6"],
  folders: [],
  symbols,
  install: "",
});
setTimeout(() => c.symbols.sleep(60), 50);
postMessage("soon");
