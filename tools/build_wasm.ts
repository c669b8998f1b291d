/**
 * Compiles the AssemblyScript kernels and writes them, as base64, into a module of their own:
 *
 *     deno run -A tools/build_wasm.ts
 *
 * `tests/backend/wasm_kernels_test.ts` compiles them again and fails when the committed text is another.
 */
import { main } from "assemblyscript/asc";

const SOURCES = new URL("../src/backend/cpu/wasm/assembly/", import.meta.url);
const BINARY = new URL("../src/backend/cpu/wasm/kernels_binary.ts", import.meta.url);

/** Compiles the kernels. The same sources give the same bytes. Throws with the compiler's messages if it refuses. */
export async function compileKernels(): Promise<Uint8Array<ArrayBuffer>> {
  let binary: Uint8Array<ArrayBuffer> | undefined;
  const { error, stderr } = await main([
    "index.ts",
    ...["--outFile", "kernels.wasm"],
    ...["--importMemory", "--noExportMemory", "--sharedMemory", "--initialMemory", "1", "--maximumMemory", "65536"],
    ...["--enable", "simd", "--enable", "relaxed-simd", "--enable", "threads"],
    ...["--runtime", "stub", "--noAssert", "-O3", "--converge"],
  ], {
    readFile(name: string) {
      try {
        return Deno.readTextFileSync(new URL(name, SOURCES));
      } catch {
        return null; // the compiler looks in several places
      }
    },
    writeFile(_name: string, contents: string | Uint8Array) {
      binary = new Uint8Array(contents as Uint8Array);
    },
    listFiles: () => [],
  });
  if (error || !binary) throw new Error(`Cannot compile the WASM kernels: ${stderr.toString()}`, { cause: error });
  return binary;
}

/** The committed module for these bytes. */
export function kernelsModuleText(binary: Uint8Array): string {
  return `/** The kernels of \`assembly/\` as WebAssembly, in base64. Written by tools/build_wasm.ts; do not edit. */
export const KERNELS_BASE64 =
  "${binary.toBase64()}";
`;
}

/** The text of the committed module. */
export function committedModuleText(): string {
  return Deno.readTextFileSync(BINARY);
}

if (import.meta.main) {
  const binary = await compileKernels();
  Deno.writeTextFileSync(BINARY, kernelsModuleText(binary));
  console.log(`kernels: ${binary.byteLength} bytes of WebAssembly`);
}
