/** JavaScript expressions of the PTX instructions that compute a value from registers: conversions, comparisons, arithmetic. */
import type { PtxInstruction } from "./ptx.ts";

/** JavaScript expression of an operand that is used as a type. */
type ValueOf = (operand: string, type: string) => string;
/** The expression of the result, by the name of the operation without its type. */
type Expressions = Readonly<Record<string, (a: string, b: string, c: string) => string>>;

const COMPARISONS: Record<string, string> = { eq: "===", ne: "!==", lt: "<", le: "<=", gt: ">", ge: ">=" };
const UNSIGNED_COMPARISONS: Record<string, string> = { lo: "<", ls: "<=", hi: ">", hs: ">=" };

/** By the types of the result and of the operand. */
const CONVERSIONS: Expressions = {
  "u64.u32": (a) => `${a} >>> 0`,
  "s64.s32": (a) => a,
  "u32.u64": (a) => `${a} | 0`,
  "s32.s64": (a) => `${a} | 0`,
  "rn.f32.u32": (a) => `fround(${a} >>> 0)`,
  "rn.f32.s32": (a) => `fround(${a})`,
  "rmi.f32.f32": (a) => `Math.floor(${a})`,
  "rzi.s32.f32": (a) => `m.truncate(${a})`,
};

const FLOAT: Expressions = {
  "add": (a, b) => `fround(${a} + ${b})`,
  "add.rn": (a, b) => `fround(${a} + ${b})`,
  "sub": (a, b) => `fround(${a} - ${b})`,
  "sub.rn": (a, b) => `fround(${a} - ${b})`,
  "mul": (a, b) => `fround(${a} * ${b})`,
  "mul.rn": (a, b) => `fround(${a} * ${b})`,
  "div.rn": (a, b) => `fround(${a} / ${b})`,
  // The product is exact in a double; the sum is rounded twice, which differs once in 2^29.
  "fma.rn": (a, b, c) => `fround(${a} * ${b} + ${c})`,
  "sqrt.rn": (a) => `fround(Math.sqrt(${a}))`,
  "neg": (a) => `-${a}`,
  "abs": (a) => `Math.abs(${a})`,
  // PTX: the number if the other operand is NaN.
  "max": (a, b) => `(${a} !== ${a} ? ${b} : ${b} !== ${b} ? ${a} : Math.max(${a}, ${b}))`,
  "min": (a, b) => `(${a} !== ${a} ? ${b} : ${b} !== ${b} ? ${a} : Math.min(${a}, ${b}))`,
};

const PREDICATE: Expressions = {
  and: (a, b) => `${a} && ${b}`,
  or: (a, b) => `${a} || ${b}`,
  xor: (a, b) => `${a} !== ${b}`,
  not: (a) => `!${a}`,
};

/** Of 64 bits. */
const LONG: Expressions = {
  "add": (a, b) => `${a} + ${b}`,
  "sub": (a, b) => `${a} - ${b}`,
  "mul.lo": (a, b) => `m.exact(${a} * ${b})`,
  "shl": (a, b) => `m.exact(${a} * 2 ** ${b})`,
  "shr": (a, b) => `Math.floor(${a} / 2 ** ${b})`,
  "and": (a, b) => `Number(BigInt(${a}) & BigInt(${b}))`,
};

/** Of 32 bits, signed. */
const INTEGER: Expressions = {
  "add": (a, b) => `${a} + ${b} | 0`,
  "sub": (a, b) => `${a} - ${b} | 0`,
  "mul.lo": (a, b) => `Math.imul(${a}, ${b})`,
  "mad.lo": (a, b, c) => `Math.imul(${a}, ${b}) + ${c} | 0`,
  "mul.wide": (a, b) => `m.exact(${a} * ${b})`,
  "div": (a, b) => `m.divide(${a}, ${b}) | 0`,
  "rem": (a, b) => `${a} % ${b} | 0`,
  "and": (a, b) => `${a} & ${b}`,
  "or": (a, b) => `${a} | ${b}`,
  "xor": (a, b) => `${a} ^ ${b}`,
  "not": (a) => `~${a}`,
  "neg": (a) => `-${a} | 0`,
  "shl": (a, b) => `(${b} >>> 0) > 31 ? 0 : ${a} << ${b}`,
  "shr": (a, b) => `${a} >> Math.min((${b} >>> 0), 31)`,
  "min": (a, b) => `Math.min(${a}, ${b})`,
  "max": (a, b) => `Math.max(${a}, ${b})`,
  "popc": (a) => `m.countBits(${a})`,
};

const UNSIGNED: Expressions = {
  ...INTEGER,
  "mul.wide": (a, b) => `m.exact((${a} >>> 0) * (${b} >>> 0))`,
  "div": (a, b) => `m.divide((${a} >>> 0), (${b} >>> 0)) | 0`,
  "rem": (a, b) => `(${a} >>> 0) % (${b} >>> 0) | 0`,
  "shr": (a, b) => `(${b} >>> 0) > 31 ? 0 : ${a} >>> ${b} | 0`,
  "min": (a, b) => `Math.min((${a} >>> 0), (${b} >>> 0)) | 0`,
  "max": (a, b) => `Math.max((${a} >>> 0), (${b} >>> 0)) | 0`,
};

/** The expression of an instruction's result; undefined if it is not emulated. */
export function arithmetic(instruction: PtxInstruction, valueOf: ValueOf): string | undefined {
  const { operation, operands } = instruction;
  const type = operation.at(-1)!;
  if (operation[0] === "setp") return compare(instruction, valueOf);
  if (operation[0] === "cvt") return expressionOf(CONVERSIONS, operation.slice(1), [valueOf(operands[1], type)]);
  const [expressions, operandType] = type === "f32"
    ? [FLOAT, type]
    : type === "pred"
    ? [PREDICATE, type]
    : type.endsWith("64")
    ? [LONG, "s64"]
    : [type === "u32" ? UNSIGNED : INTEGER, "b32"];
  const values = operands.slice(1).map((operand) => valueOf(operand, operandType));
  return expressionOf(expressions, operation.slice(0, -1), values);
}

function expressionOf(expressions: Expressions, operation: string[], [a, b, c]: string[]): string | undefined {
  const name = operation.join(".");
  return Object.hasOwn(expressions, name) ? expressions[name](a, b, c) : undefined;
}

function compare(instruction: PtxInstruction, valueOf: ValueOf): string | undefined {
  const { operation, operands } = instruction;
  const type = operation.at(-1)!;
  if (operation.length !== 3) return undefined;
  const [a, b] = [valueOf(operands[1], type), valueOf(operands[2], type)];
  const name = operation[1];
  if (type === "f32" && name.endsWith("u") && Object.hasOwn(COMPARISONS, name.slice(0, -1))) {
    return `${a} ${COMPARISONS[name.slice(0, -1)]} ${b} || ${a} !== ${a} || ${b} !== ${b}`;
  }
  const all = { ...COMPARISONS, ...UNSIGNED_COMPARISONS };
  if (!Object.hasOwn(all, name)) return undefined;
  const comparison = all[name];
  if (type === "f32" && name === "ne") return `${a} !== ${b} && ${a} === ${a} && ${b} === ${b}`;
  return type === "u32" ? `(${a} >>> 0) ${comparison} (${b} >>> 0)` : `${a} ${comparison} ${b}`;
}
