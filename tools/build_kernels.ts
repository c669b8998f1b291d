/**
 * Compiles the CUDA kernels to the PTX text that is committed next to them, and records the registers that ptxas
 * assigns.
 *
 *     deno run -A tools/build_kernels.ts            compile every .cu, then write kernels/resources.md
 *     deno run -A tools/build_kernels.ts --check    fail unless every .ptx was compiled from its present source
 *
 * Compiling needs Debian's clang-14 (apt-get install clang-14) and no CUDA toolkit; the table needs ptxas from one.
 */
import { createHash } from "node:crypto";
import { markdownTable } from "./markdown_table.ts";
import { occupancy } from "./occupancy.ts";

const KERNELS = new URL("../src/backend/cuda/kernels/", import.meta.url);
/** Architectures that ptxas must assemble the PTX for without spilling registers. */
const ARCHITECTURES = [75, 80, 86, 89, 90, 100, 120];
/** PTX 7.0 for sm_70: supported by every driver since 2020 and every GPU from V100 on. */
const FLAGS = [
  ..."-x cuda --cuda-device-only -S --cuda-gpu-arch=sm_70 -nocudainc -nocudalib -O3 -Wall".split(" "),
  ..."-Wno-unknown-cuda-version -Xclang -target-feature -Xclang +ptx70".split(" "),
];

/** Names of the kernel sources, without ".cu". */
export function kernelNames(): string[] {
  return [...Deno.readDirSync(KERNELS)].map((e) => e.name).filter((n) => n.endsWith(".cu")).map((n) => n.slice(0, -3))
    .sort();
}

/** Hash of everything that determines a kernel's PTX: its source, the prelude and the compiler's flags. */
export function sourceHash(name: string): string {
  const hash = createHash("sha256").update(FLAGS.join(" "));
  for (const file of ["prelude.h", `${name}.cu`]) hash.update(Deno.readTextFileSync(new URL(file, KERNELS)));
  return hash.digest("hex");
}

/** Names of kernels whose committed PTX was not built from the current source. */
export function staleKernels(): string[] {
  return kernelNames().filter((name) => {
    try {
      return !Deno.readTextFileSync(new URL(`${name}.ptx`, KERNELS)).includes(`source sha256 ${sourceHash(name)}`);
    } catch {
      return true;
    }
  });
}

/** Compiles one kernel and returns its PTX with a banner. Throws if clang is missing or reports an error. */
export function compile(name: string): string {
  const text = run("clang-14", [...FLAGS, new URL(`${name}.cu`, KERNELS).pathname, "-o", "-"]).stdout;
  return `// Built from ${name}.cu by tools/build_kernels.ts; do not edit.\n` +
    `// source sha256 ${sourceHash(name)}\n` + text.replace(/^(\/\/.*\n|\n)+/, "");
}

/** Resources of an entry on an architecture, according to ptxas. */
export interface Resources {
  readonly entry: string;
  /** Threads of a block at most, which the launchers use for all but small operands. */
  readonly threads: number;
  readonly registers: number;
  readonly sharedBytes: number;
  readonly spillBytes: number;
}

/** Assembles a kernel's committed PTX. Throws if ptxas is missing or refuses it. */
export function assemble(name: string, architecture: number): Resources[] {
  const ptx = new URL(`${name}.ptx`, KERNELS).pathname;
  const log = run("ptxas", ["-v", `-arch=sm_${architecture}`, ptx, "-o", "/dev/null"]).stderr;
  const text = Deno.readTextFileSync(ptx);
  return log.split("Compiling entry function '").slice(1).map((part) => ({
    entry: part.slice(0, part.indexOf("'")),
    threads: Number(new RegExp(`\\.entry ${part.slice(0, part.indexOf("'"))}\\([^]*?\\.maxntid (\\d+)`).exec(text)![1]),
    registers: Number(/Used (\d+) registers/.exec(part)![1]),
    sharedBytes: Number(/(\d+) bytes smem/.exec(part)?.[1] ?? 0),
    spillBytes: Number(/(\d+) bytes spill stores/.exec(part)![1]) + Number(/(\d+) bytes spill loads/.exec(part)![1]),
  }));
}

function run(program: string, parameters: string[]): { stdout: string; stderr: string } {
  const { code, stdout, stderr } = new Deno.Command(program, { args: parameters }).outputSync();
  const result = { stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
  if (code !== 0) throw new Error(`${program} ${parameters.join(" ")} failed:\n${result.stderr}`);
  return result;
}

/** Release of the installed ptxas, such as "13.0". */
export function ptxasRelease(): string {
  return /release ([\d.]+)/.exec(run("ptxas", ["--version"]).stdout)![1];
}

/** Text of resources.md. Throws if an entry spills registers. */
export function resourceTable(): string {
  const names = ARCHITECTURES.map((architecture) => `sm_${architecture}`);
  const registers = [["entry", "shared bytes", ...names]], occupancies = [["entry", "threads", ...names]];
  for (const name of kernelNames()) {
    const columns = ARCHITECTURES.map((architecture) => assemble(name, architecture));
    columns[0].forEach(({ entry, sharedBytes, threads }, line) => {
      const spilling = columns.find((column) => column[line].spillBytes > 0);
      if (spilling !== undefined) throw new Error(`${entry} spills ${spilling[line].spillBytes} bytes`);
      registers.push([entry, String(sharedBytes), ...columns.map((column) => String(column[line].registers))]);
      const shares = columns.map((column, c) => occupancy(ARCHITECTURES[c], column[line]));
      occupancies.push([entry, String(threads), ...shares.map((share) => `${Math.floor(100 * share)} %`)]);
    });
  }
  return `<!-- Written by tools/build_kernels.ts. -->

# What ptxas makes of the kernels

Registers of a thread on each architecture, by ptxas ${ptxasRelease()}; no entry spills on any of them.

Shared memory is the static part; the interaction kernels add what their launcher asks for.

${markdownTable(registers)}

## Occupancy

Warps that fit on a multiprocessor at once, of those that it can hold, by registers and static shared memory.

${markdownTable(occupancies)}
`;
}

if (import.meta.main) {
  if (Deno.args.includes("--check")) {
    const stale = staleKernels();
    if (stale.length > 0) {
      console.error(`Stale PTX: ${stale.join(", ")}; run deno run -A tools/build_kernels.ts`);
      Deno.exit(1);
    }
    console.log(`The PTX of ${kernelNames().length} kernels matches its sources`);
  } else {
    for (const name of kernelNames()) Deno.writeTextFileSync(new URL(`${name}.ptx`, KERNELS), compile(name));
    Deno.writeTextFileSync(new URL("resources.md", KERNELS), resourceTable());
    console.log(`Built ${kernelNames().join(", ")}`);
  }
}
