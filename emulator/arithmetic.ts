/** JavaScript expressions of the PTX instructions that compute a value from registers: conversions, comparisons, arithmetic. */
import type { PtxInstruction } from "./ptx.ts";

/** JavaScript expression of an operand that is used as a type. */
type ValueOf = (operand: string, type: string) => string;

const COMPARISONS: Record<string, string> = { eq: "===", ne: "!==", lt: "<", le: "<=", gt: ">", ge: ">=" };
const UNSIGNED_COMPARISONS: Record<string, string> = { lo: "<", ls: "<=", hi: ">", hs: ">=" };

/** The expression of an instruction's result; undefined if it is not emulated. */
export function arithmetic(instruction: PtxInstruction, valueOf: ValueOf): string | undefined {
  const { operation } = instruction;
  const type = operation.at(-1)!;
  const kind = operation[0] === "cvt"
    ? convert
    : operation[0] === "setp"
    ? compare
    : type === "f32"
    ? float
    : type === "pred"
    ? predicate
    : type.endsWith("64")
    ? long
    : integer;
  return kind(instruction, valueOf);
}

function convert(instruction: PtxInstruction, valueOf: ValueOf): string | undefined {
  const value = valueOf(instruction.operands[1], instruction.operation.at(-1)!);
  switch (instruction.operation.slice(1).join(".")) {
    case "u64.u32":
      return `${value} >>> 0`;
    case "s64.s32":
      return value;
    case "u32.u64":
    case "s32.s64":
      return `${value} | 0`;
    case "rn.f32.u32":
      return `fround(${value} >>> 0)`;
    case "rn.f32.s32":
      return `fround(${value})`;
    case "rmi.f32.f32":
      return `Math.floor(${value})`;
    case "rzi.s32.f32":
      return `m.truncate(${value})`;
    default:
      return undefined;
  }
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

function float(instruction: PtxInstruction, valueOf: ValueOf): string | undefined {
  const { operands } = instruction;
  const operation = instruction.operation.slice(0, -1).join(".");
  const [a, b, c] = operands.slice(1).map((operand) => valueOf(operand, "f32"));
  switch (operation) {
    case "add":
    case "add.rn":
      return `fround(${a} + ${b})`;
    case "sub":
    case "sub.rn":
      return `fround(${a} - ${b})`;
    case "mul":
    case "mul.rn":
      return `fround(${a} * ${b})`;
    case "div.rn":
      return `fround(${a} / ${b})`;
    case "fma.rn": // the product is exact in a double; the sum is rounded twice, which differs once in 2^29
      return `fround(${a} * ${b} + ${c})`;
    case "sqrt.rn":
      return `fround(Math.sqrt(${a}))`;
    case "neg":
      return `-${a}`;
    case "abs":
      return `Math.abs(${a})`;
    case "max": // PTX: the number if the other operand is NaN
      return `(${a} !== ${a} ? ${b} : ${b} !== ${b} ? ${a} : Math.max(${a}, ${b}))`;
    case "min":
      return `(${a} !== ${a} ? ${b} : ${b} !== ${b} ? ${a} : Math.min(${a}, ${b}))`;
    default:
      return undefined;
  }
}

function predicate(instruction: PtxInstruction, valueOf: ValueOf): string | undefined {
  const [a, b] = instruction.operands.slice(1).map((operand) => valueOf(operand, "pred"));
  switch (instruction.operation[0]) {
    case "and":
      return `${a} && ${b}`;
    case "or":
      return `${a} || ${b}`;
    case "xor":
      return `${a} !== ${b}`;
    case "not":
      return `!${a}`;
    default:
      return undefined;
  }
}

function long(instruction: PtxInstruction, valueOf: ValueOf): string | undefined {
  const operation = instruction.operation.slice(0, -1).join(".");
  const [a, b] = instruction.operands.slice(1).map((operand) => valueOf(operand, "s64"));
  switch (operation) {
    case "add":
      return `${a} + ${b}`;
    case "sub":
      return `${a} - ${b}`;
    case "mul.lo":
      return `m.exact(${a} * ${b})`;
    case "shl":
      return `m.exact(${a} * 2 ** ${b})`;
    case "shr":
      return `Math.floor(${a} / 2 ** ${b})`;
    case "and":
      return `Number(BigInt(${a}) & BigInt(${b}))`;
    default:
      return undefined;
  }
}

function integer(instruction: PtxInstruction, valueOf: ValueOf): string | undefined {
  const { operands } = instruction;
  const operation = instruction.operation.slice(0, -1).join(".");
  const unsigned = instruction.operation.at(-1) === "u32";
  const [a, b, c] = operands.slice(1).map((operand) => valueOf(operand, "b32"));
  const [ua, ub] = [`(${a} >>> 0)`, `(${b} >>> 0)`];
  switch (operation) {
    case "add":
      return `${a} + ${b} | 0`;
    case "sub":
      return `${a} - ${b} | 0`;
    case "mul.lo":
      return `Math.imul(${a}, ${b})`;
    case "mad.lo":
      return `Math.imul(${a}, ${b}) + ${c} | 0`;
    case "mul.wide":
      return unsigned ? `m.exact(${ua} * ${ub})` : `m.exact(${a} * ${b})`;
    case "div":
      return unsigned ? `m.divide(${ua}, ${ub}) | 0` : `m.divide(${a}, ${b}) | 0`;
    case "rem":
      return unsigned ? `${ua} % ${ub} | 0` : `${a} % ${b} | 0`;
    case "and":
      return `${a} & ${b}`;
    case "or":
      return `${a} | ${b}`;
    case "xor":
      return `${a} ^ ${b}`;
    case "not":
      return `~${a}`;
    case "neg":
      return `-${a} | 0`;
    case "shl":
      return `${ub} > 31 ? 0 : ${a} << ${b}`;
    case "shr":
      return unsigned ? `${ub} > 31 ? 0 : ${a} >>> ${b} | 0` : `${a} >> Math.min(${ub}, 31)`;
    case "min":
      return unsigned ? `Math.min(${ua}, ${ub}) | 0` : `Math.min(${a}, ${b})`;
    case "max":
      return unsigned ? `Math.max(${ua}, ${ub}) | 0` : `Math.max(${a}, ${b})`;
    case "popc":
      return `m.countBits(${a})`;
    default:
      return undefined;
  }
}
