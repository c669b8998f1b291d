/**
 * Compiles the AssemblyScript kernels and writes them to a module as base64:
 *
 *     deno run -A tools/build_wasm.ts
 *
 * `tests/backend/wasm_kernels_test.ts` compiles them again and fails if the committed text differs.
 *
 * The compiler can generate code with 64-bit addresses, but its command line has no option for it and declares a memory
 * with 32-bit addresses. This tool therefore calls the compiler as a library and declares the memory itself.
 */
import * as compiler from "assemblyscript";
import { libraryFiles, libraryPrefix } from "assemblyscript/asc";
import binaryen from "assemblyscript/binaryen";
import { MAXIMUM_PAGES } from "../src/backend/cpu/wasm/kernels.ts";

const SOURCES = new URL("../src/backend/cpu/wasm/assembly/", import.meta.url);
const BINARY = new URL("../src/backend/cpu/wasm/kernels_binary.ts", import.meta.url);

const WASM64 = 2;
/** The runtime without garbage collection. Nothing of it is in the binary, because the kernels allocate nothing. */
const STUB_RUNTIME = 0;

/** Compiles the kernels. The same sources give the same bytes. Throws with the compiler's messages if it refuses. */
export function compileKernels(): Uint8Array<ArrayBuffer> {
  const options = compiler.newOptions();
  compiler.setTarget(options, WASM64);
  compiler.setRuntime(options, STUB_RUNTIME);
  compiler.setNoAssert(options, true);
  compiler.setImportMemory(options, true);
  compiler.setExportMemory(options, false);
  const { FEATURE_SIMD, FEATURE_RELAXED_SIMD, FEATURE_THREADS, FEATURE_MEMORY64 } = compiler;
  for (const feature of [FEATURE_SIMD, FEATURE_RELAXED_SIMD, FEATURE_THREADS, FEATURE_MEMORY64]) {
    compiler.setFeature(options, feature, true);
  }
  compiler.setOptimizeLevelHints(options, 3, 0);

  const program = compiler.newProgram(options);
  for (const [name, text] of Object.entries(libraryFiles)) {
    if (!name.includes("/")) compiler.parse(program, text, `${libraryPrefix}${name}.ts`, false);
  }
  compiler.parse(program, libraryFiles["rt/index-stub"], `${libraryPrefix}rt/index-stub.ts`, true);
  compiler.parse(program, Deno.readTextFileSync(new URL("index.ts", SOURCES)), "index.ts", true);
  for (let path = compiler.nextFile(program); path !== null; path = compiler.nextFile(program)) {
    const [text, name] = sourceOf(path);
    compiler.parse(program, text, name, false);
  }
  throwDiagnostics(program);
  compiler.initializeProgram(program);
  const compiled = compiler.compile(program);
  throwDiagnostics(program);

  const module = binaryen.wrapModule(compiler.getBinaryenModuleRef(compiled));
  module.setMemory(1, MAXIMUM_PAGES, null, [], true, true, "0");
  module.addMemoryImport("0", "env", "memory", true);
  if (!module.validate()) throw new Error("Cannot compile the WASM kernels: the compiler made an invalid module");
  compiler.optimize(compiled, 3, 0, false, false);
  return new Uint8Array(module.emitBinary());
}

/** The text of an imported file and its name with extension. */
function sourceOf(path: string): [text: string, name: string] {
  if (!path.startsWith(libraryPrefix)) return [Deno.readTextFileSync(new URL(`${path}.ts`, SOURCES)), `${path}.ts`];
  const name = path.slice(libraryPrefix.length);
  return name in libraryFiles
    ? [libraryFiles[name], `${path}.ts`]
    : [libraryFiles[`${name}/index`], `${path}/index.ts`];
}

/** Throws all messages of the compiler, including warnings. */
function throwDiagnostics(program: compiler.Program): void {
  const messages = [];
  for (let next = compiler.nextDiagnostic(program); next !== null; next = compiler.nextDiagnostic(program)) {
    messages.push(compiler.formatDiagnostic(next, false, true));
  }
  if (messages.length > 0) throw new Error(`Cannot compile the WASM kernels:\n${messages.join("\n")}`);
}

/** Text of the module for this binary. */
export function kernelsModuleText(binary: Uint8Array): string {
  return `/** The kernels of \`assembly/\` as WebAssembly, in base64. Written by tools/build_wasm.ts; do not edit. */
export const KERNELS_BASE64 =
  "${binary.toBase64()}";
`;
}

/** Text of the committed module. */
export function committedModuleText(): string {
  return Deno.readTextFileSync(BINARY);
}

if (import.meta.main) {
  const binary = compileKernels();
  Deno.writeTextFileSync(BINARY, kernelsModuleText(binary));
  console.log(`kernels: ${binary.byteLength} bytes of WebAssembly`);
}
