/**
 * Compiles the AssemblyScript kernels of the CPU backend, the layout and the look-ahead plan, and writes them to modules
 * as base64:
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

/** A module of kernels: its sources are in `assembly/` of a folder, its text is in `kernels_binary.ts` there. */
interface KernelModule {
  readonly folder: URL;
  /** True for shared memory with 64-bit addresses, which can exceed 4 GiB; else each instance has memory with 32-bit addresses of its own. */
  readonly shared: boolean;
}

/** The modules. */
export const KERNEL_MODULES: readonly KernelModule[] = [
  { folder: new URL("../src/backend/cpu/wasm/", import.meta.url), shared: true },
  { folder: new URL("../src/layout/wasm/", import.meta.url), shared: false },
  { folder: new URL("../src/embedding/wasm/", import.meta.url), shared: true },
];

const WASM32 = 0;
const WASM64 = 2;
/** Pages that 32 bits can address. */
const MAXIMUM_PAGES_32 = 65536;
/** The runtime without garbage collection. Nothing of it is in the binary, because the kernels allocate nothing. */
const STUB_RUNTIME = 0;

/** Compiles the kernels. The same sources give the same bytes. Throws with the compiler's messages if it refuses. */
export function compileKernels({ folder, shared }: KernelModule): Uint8Array<ArrayBuffer> {
  const sources = new URL("assembly/", folder);
  const options = compiler.newOptions();
  compiler.setTarget(options, shared ? WASM64 : WASM32);
  compiler.setRuntime(options, STUB_RUNTIME);
  compiler.setNoAssert(options, true);
  compiler.setImportMemory(options, true);
  compiler.setExportMemory(options, false);
  const { FEATURE_SIMD, FEATURE_RELAXED_SIMD, FEATURE_THREADS, FEATURE_MEMORY64 } = compiler;
  const features = shared ? [FEATURE_SIMD, FEATURE_RELAXED_SIMD, FEATURE_THREADS, FEATURE_MEMORY64] : [FEATURE_SIMD];
  for (const feature of features) compiler.setFeature(options, feature, true);
  compiler.setOptimizeLevelHints(options, 3, 0);

  const program = compiler.newProgram(options);
  for (const [name, text] of Object.entries(libraryFiles)) {
    if (!name.includes("/")) compiler.parse(program, text, `${libraryPrefix}${name}.ts`, false);
  }
  compiler.parse(program, libraryFiles["rt/index-stub"], `${libraryPrefix}rt/index-stub.ts`, true);
  compiler.parse(program, Deno.readTextFileSync(new URL("index.ts", sources)), "index.ts", true);
  for (let path = compiler.nextFile(program); path !== null; path = compiler.nextFile(program)) {
    const [text, name] = sourceOf(sources, path);
    compiler.parse(program, text, name, false);
  }
  throwDiagnostics(program);
  compiler.initializeProgram(program);
  const compiled = compiler.compile(program);
  throwDiagnostics(program);

  const module = binaryen.wrapModule(compiler.getBinaryenModuleRef(compiled));
  module.setMemory(1, shared ? MAXIMUM_PAGES : MAXIMUM_PAGES_32, null, [], shared, shared, "0");
  module.addMemoryImport("0", "env", "memory", shared);
  if (!module.validate()) throw new Error("Cannot compile the WASM kernels: the compiler made an invalid module");
  compiler.optimize(compiled, 3, 0, false, false);
  return new Uint8Array(module.emitBinary());
}

/** The text of an imported file and its name with extension. */
function sourceOf(sources: URL, path: string): [text: string, name: string] {
  if (!path.startsWith(libraryPrefix)) return [Deno.readTextFileSync(new URL(`${path}.ts`, sources)), `${path}.ts`];
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

/** The file of a module's text. */
function binaryOf({ folder }: KernelModule): URL {
  return new URL("kernels_binary.ts", folder);
}

/** The committed text of a module. */
export function committedModuleText(module: KernelModule): string {
  return Deno.readTextFileSync(binaryOf(module));
}

if (import.meta.main) {
  for (const module of KERNEL_MODULES) {
    const binary = compileKernels(module);
    Deno.writeTextFileSync(binaryOf(module), kernelsModuleText(binary));
    console.log(`${binaryOf(module).pathname}: ${binary.byteLength} bytes of WebAssembly`);
  }
}
