/**
 * Parses PTX text as compilers write it: entries with parameters, shared arrays, registers, labels and instructions.
 */

/** A parameter of an entry. */
export interface PtxParameter {
  readonly name: string;
  /** "u32", "u64", "f32", ... */
  readonly type: string;
  /** Position and length in the block of arguments, in bytes. */
  readonly offset: number;
  readonly bytes: number;
}

/** One instruction. `@!%p1 bra LBB0_3` has guard "%p1", negated, operation ["bra"] and operands ["LBB0_3"]. */
export interface PtxInstruction {
  readonly line: number;
  readonly guard: string | undefined;
  readonly negated: boolean;
  /** Parts of the operation: "ld.global.f32" is ["ld", "global", "f32"]. */
  readonly operation: readonly string[];
  readonly operands: readonly string[];
}

/** An array in shared memory. `bytes` is 0 if the launch determines its length. */
export interface PtxShared {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
}

/** A kernel. */
export interface PtxEntry {
  readonly name: string;
  readonly parameters: readonly PtxParameter[];
  /** Bytes of the block of arguments. */
  readonly parameterBytes: number;
  /** Maximum threads of a block, if the kernel declares it. */
  readonly maxThreads: number | undefined;
  readonly shared: readonly PtxShared[];
  /** Bytes of the shared arrays with known lengths; the array of the launch begins after them. */
  readonly sharedBytes: number;
  /** Types of registers by prefix, such as "b32" for "%r". */
  readonly registers: ReadonlyMap<string, string>;
  /** Instructions, and labels with the index of the instruction that follows. */
  readonly instructions: readonly PtxInstruction[];
  readonly labels: ReadonlyMap<string, number>;
}

/** PTX that cannot be parsed, or that uses features which the emulated device does not have. */
export class PtxError extends Error {
  override name = "PtxError";
}

const TYPE_BYTES: Readonly<Record<string, number>> = {
  ...{ b8: 1, u8: 1, s8: 1, b16: 2, u16: 2, s16: 2, f16: 2 },
  ...{ b32: 4, u32: 4, s32: 4, f32: 4, b64: 8, u64: 8, s64: 8, f64: 8 },
};
/** More shared memory than any device has. */
const MAX_SHARED_BYTES = 1 << 20;

/** Size of a PTX type in bytes, such as 4 for u32. Throws PtxError. */
export function typeBytes(type: string): number {
  if (!Object.hasOwn(TYPE_BYTES, type)) throw new PtxError(`the type ${type} is not emulated`);
  return TYPE_BYTES[type];
}

/** Parses a module in linear time. Throws PtxError that names the line. */
export function parsePtx(text: string): PtxEntry[] {
  const clean = text.replace(/\/\*[\s\S]*?(?:\*\/|$)|\/\/.*/g, blank);
  if (/\.func\b/.test(clean)) throw new PtxError("PTX functions (.func) are not emulated; inline them");
  const entries: PtxEntry[] = [];
  let moduleShared: Declaration[] | undefined;
  let line = 1;
  for (let at = 0;;) {
    const begin = clean.indexOf(".entry", at);
    if (begin < 0) break;
    moduleShared ??= sharedDeclarations(clean.slice(0, begin));
    line += newlines(clean.slice(at, begin));
    const head = /^\.entry\s+([\w$]+)\s*\(([^(){}]*)\)([^{}]*)\{/.exec(clean.slice(begin));
    if (head === null) throw new PtxError(`line ${line}: cannot read the head of an entry`);
    const [opening, name, parameters, directives] = head;
    const from = begin + opening.length;
    at = closingBrace(clean, from);
    const body = clean.slice(from, at);
    line += newlines(opening);
    entries.push(parseEntry(name, parameters, directives, body, line, moduleShared));
    line += newlines(body);
  }
  if (entries.length === 0) throw new PtxError("the PTX has no .entry");
  return entries;
}

/** Replaces a comment with spaces, so that line numbers do not change. */
function blank(text: string): string {
  return text.replace(/[^\n]/g, " ");
}

/** Position of the brace that closes the block open at `begin`. Operands that are vectors have braces too. */
function closingBrace(text: string, begin: number): number {
  let depth = 1;
  for (let i = begin; i < text.length; i++) {
    if (text[i] === "{") depth++;
    if (text[i] === "}" && --depth === 0) return i;
  }
  throw new PtxError("the PTX ends inside a block");
}

function newlines(text: string): number {
  return text.split("\n").length - 1;
}

interface Declaration {
  readonly name: string;
  readonly align: number;
  readonly bytes: number;
}

function sharedDeclarations(text: string): Declaration[] {
  const declarations: Declaration[] = [];
  const pattern = /\.shared\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d*)\])?\s*;/g;
  for (const [, align, type, name, count] of text.matchAll(pattern)) {
    const bytes = count === undefined ? typeBytes(type) : Number(count || 0) * typeBytes(type);
    declarations.push({ name, align: Number(align ?? typeBytes(type)), bytes });
  }
  return declarations;
}

function parseEntry(
  name: string,
  parameterText: string,
  directives: string,
  body: string,
  firstLine: number,
  moduleShared: readonly Declaration[],
): PtxEntry {
  let parameterBytes = 0;
  const parameters: PtxParameter[] = [];
  for (const [, type, parameter] of parameterText.matchAll(/\.param\s+\.(\w+)\s+([\w$]+)/g)) {
    const bytes = typeBytes(type);
    const offset = Math.ceil(parameterBytes / bytes) * bytes;
    parameters.push({ name: parameter, type, offset, bytes });
    parameterBytes = offset + bytes;
  }

  const shared: PtxShared[] = [];
  let sharedBytes = 0;
  const used = (declaration: Declaration) => new RegExp(`\\b${declaration.name.replaceAll("$", "\\$")}\\b`).test(body);
  const declared = [...sharedDeclarations(body), ...moduleShared.filter(used)];
  for (const { name: array, align, bytes } of declared.sort((a, b) => Number(a.bytes === 0) - Number(b.bytes === 0))) {
    if (align === 0) throw new PtxError(`the shared array ${array} of ${name} is aligned to 0 bytes`);
    sharedBytes = Math.ceil(sharedBytes / align) * align;
    shared.push({ name: array, offset: sharedBytes, bytes });
    sharedBytes += bytes;
    if (!(sharedBytes <= MAX_SHARED_BYTES)) {
      throw new PtxError(`the shared arrays of ${name} have more than ${MAX_SHARED_BYTES} bytes`);
    }
  }

  const registers = new Map<string, string>();
  const instructions: PtxInstruction[] = [];
  const labels = new Map<string, number>();
  let line = firstLine;
  for (const part of body.split(";")) {
    let statement = part;
    for (;;) {
      const label = /^\s*([\w$]+):/.exec(statement);
      if (label === null) break;
      labels.set(label[1], instructions.length);
      statement = statement.slice(label[0].length);
      line += newlines(label[0]);
    }
    const leading = newlines(/^\s*/.exec(statement)![0]);
    const words = statement.trim();
    const at = line + leading;
    line += newlines(statement);
    if (words === "" || words.startsWith(".shared") || words.startsWith(".pragma")) continue;
    const register = /^\.reg\s+\.(\w+)\s+(%\w+)<\d+>$/.exec(words);
    if (register !== null) {
      registers.set(register[2], register[1]);
      continue;
    }
    instructions.push(parseInstruction(words, at));
  }
  const maxThreads = /\.maxntid\s+(\d+)/.exec(directives)?.[1];
  return {
    name,
    parameters,
    parameterBytes,
    maxThreads: maxThreads === undefined ? undefined : Number(maxThreads),
    shared,
    sharedBytes,
    registers,
    instructions,
    labels,
  };
}

function parseInstruction(text: string, line: number): PtxInstruction {
  const match = /^(?:@(!?)(%\w+)\s+)?([a-z][\w.]*)\s*([\s\S]*)$/.exec(text);
  if (match === null) throw new PtxError(`line ${line}: cannot read "${text}"`);
  const [, negation, guard, operation, rest] = match;
  const operands = rest.match(/\{[^{}]*\}|\[[^[\]]*\]|[^,\s]+/g) ?? [];
  return { line, guard, negated: negation === "!", operation: operation.split("."), operands };
}
