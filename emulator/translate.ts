/**
 * Translates a PTX kernel to a JavaScript function that runs one thread. Registers become local variables, basic blocks
 * become cases of a switch. A kernel whose threads wait for each other (barriers, shuffles, votes) becomes a generator
 * that yields there. 32-bit integers are stored as signed numbers, 64-bit integers as doubles (checked to be exact:
 * addresses and sizes are far below 2^53), and f32 results are rounded by Math.fround after every operation.
 */
import { arithmetic } from "./arithmetic.ts";
import { type PtxEntry, PtxError, type PtxInstruction } from "./ptx.ts";

/** Values that a thread yields: AT_BARRIER, or n to wait for its warp at exchange n - 1. */
export const AT_BARRIER = 0;

/** Kinds of exchanges between the threads of a warp. */
export type ExchangeKind = "bfly" | "idx" | "up" | "down" | "ballot";

/** A translated kernel. */
export interface Program {
  /** Runs one thread with arguments as in `THREAD_PARAMETERS`. A generator if `waits`. */
  // deno-lint-ignore no-explicit-any -- made by new Function
  readonly run: (...parameters: any[]) => unknown;
  readonly waits: boolean;
  /** Descriptions of the memory accesses, for errors and counters. */
  readonly sites: readonly string[];
  readonly exchanges: readonly ExchangeKind[];
}

/** Parameters of the function: the machine, the kernel's arguments, then special registers. */
const THREAD_PARAMETERS = ["m", "a", "tid_x", "ctaid_x", "ntid_x", "nctaid_x"];

/** Translates an entry. Throws PtxError that names the first unsupported instruction. */
export function translate(entry: PtxEntry): Program {
  return new Translator(entry).program();
}

class Translator {
  readonly #entry: PtxEntry;
  readonly #sites: string[] = [];
  readonly #exchanges: ExchangeKind[] = [];
  readonly #used = new Set<string>();
  readonly #blocks = new Map<number, number>();
  #waits = false;

  constructor(entry: PtxEntry) {
    this.#entry = entry;
  }

  program(): Program {
    const { instructions, labels } = this.#entry;
    for (const index of [...labels.values()].sort((a, b) => a - b)) {
      if (!this.#blocks.has(index)) this.#blocks.set(index, this.#blocks.size + 1);
    }
    const lines: string[] = [];
    instructions.forEach((instruction, index) => {
      if (this.#blocks.has(index)) lines.push(`case ${this.#blocks.get(index)}:`);
      let code = this.#instruction(instruction);
      if (instruction.guard !== undefined) {
        code = `if (${instruction.negated ? "!" : ""}${this.#value(instruction.guard, "pred")}) { ${code} }`;
      }
      lines.push(code);
    });
    if (this.#blocks.has(instructions.length)) lines.push(`case ${this.#blocks.get(instructions.length)}:`);
    const declarations = [...this.#used].map((name) => `${name} = ${name.startsWith("p") ? "false" : "0"}`);
    const body = `"use strict"; const fround = Math.fround; ${declarations.length > 0 ? `let ${declarations};` : ""}
      let block = 0, w = 0;
      for (;;) switch (block) { case 0:\n${lines.join("\n")}\nreturn; }`;
    return { run: this.#compile(body), waits: this.#waits, sites: this.#sites, exchanges: this.#exchanges };
  }

  #compile(body: string): Program["run"] {
    try {
      return new Function(`return function${this.#waits ? "*" : ""} (${THREAD_PARAMETERS}) { ${body} }`)();
    } catch (error) {
      throw new PtxError(`${this.#entry.name} has operands that its instructions do not take`, { cause: error });
    }
  }

  #refuse({ line, operation }: PtxInstruction, why = "is not emulated"): never {
    throw new PtxError(`line ${line} of ${this.#entry.name}: ${operation.join(".")} ${why}`);
  }

  /** Declared type of a register: "b32", "f32", "b64" or "pred". */
  #typeOf(register: string): string {
    const type = this.#entry.registers.get(register.replace(/\d+$/, ""));
    if (type === undefined) throw new PtxError(`register ${register} of ${this.#entry.name} is not declared`);
    return type;
  }

  /**
   * JavaScript expression of an operand: a register, a special register, a literal or the address of a shared array.
   */
  #value(operand: string, type: string): string {
    const special = /^%(tid|ctaid|ntid|nctaid)\.x$/.exec(operand);
    if (special !== null) return `${special[1]}_x`;
    if (/^%(tid|ctaid|ntid|nctaid)\.[yz]$/.test(operand)) return operand.startsWith("%n") ? "1" : "0";
    if (/^%\w+\d$/.test(operand)) {
      this.#typeOf(operand);
      this.#used.add(operand.slice(1));
      return operand.slice(1);
    }
    const float = /^0[fF]([0-9a-fA-F]{8})$/.exec(operand);
    if (float !== null) {
      const value = new Float32Array(new Uint32Array([parseInt(float[1], 16)]).buffer)[0];
      return Object.is(value, -0) ? "-0" : `(${value})`;
    }
    if (/^-?(\d+|0x[0-9a-fA-F]+)U?$/.test(operand)) {
      const value = Number(operand.replace(/U$/, ""));
      if (type === "pred") return String(value !== 0);
      return `(${type.endsWith("64") ? value : value | 0})`;
    }
    const shared = this.#entry.shared.find((array) => array.name === operand);
    if (shared !== undefined) return String(shared.offset);
    throw new PtxError(`operand ${operand} of ${this.#entry.name} is not emulated`);
  }

  #instruction(instruction: PtxInstruction): string {
    const { operation, operands } = instruction;
    const type = operation.at(-1)!;
    const argument = (n: number) => this.#value(operands[n], type);
    const set = (value: string) => `${argument(0)} = ${value};`;
    switch (operation[0]) {
      case "ret":
      case "exit":
        return "return;";
      case "bra": {
        const index = this.#entry.labels.get(operands[0]);
        if (index === undefined) this.#refuse(instruction, `jumps to the unknown label ${operands[0]}`);
        return `block = ${this.#blocks.get(index)}; continue;`;
      }
      case "mov":
        return set(this.#move(instruction));
      case "ld":
      case "st":
        return this.#memory(instruction);
      case "atom":
      case "red":
        return this.#atomic(instruction);
      case "bar":
        if (operation.join(".") !== "bar.sync" || operands.join() !== "0") this.#refuse(instruction);
        this.#waits = true;
        return `yield ${AT_BARRIER};`;
      case "shfl":
      case "vote":
        return this.#exchange(instruction);
      case "cvta":
        if (!/^cvta\.to\.(global|shared)\.u64$/.test(operation.join("."))) this.#refuse(instruction);
        return set(argument(1));
      case "selp":
        return set(`${this.#value(operands[3], "pred")} ? ${argument(1)} : ${argument(2)}`);
      default:
        return set(
          arithmetic(instruction, (operand, type) => this.#value(operand, type)) ?? this.#refuse(instruction),
        );
    }
  }

  #move(instruction: PtxInstruction): string {
    const [target, source] = instruction.operands;
    const value = this.#value(source, instruction.operation.at(-1)!);
    if (!source.startsWith("%") || source.includes(".")) return value;
    const [to, from] = [this.#typeOf(target), this.#typeOf(source)];
    if (to === from) return value;
    if (to === "f32" && from === "b32") return `m.floatOfBits(${value})`;
    if (to === "b32" && from === "f32") return `m.bitsOfFloat(${value})`;
    return this.#refuse(instruction, `from ${from} to ${to} is not emulated`);
  }

  #site({ line, operation }: PtxInstruction): number {
    return this.#sites.push(`${this.#entry.name}: ${operation.join(".")} in line ${line}`) - 1;
  }

  /** JavaScript expression of an address such as `[%rd1+16]`. */
  #address(operand: string): string {
    const match = /^\[([%\w$]+)(?:\+(-?\d+))?\]$/.exec(operand);
    if (match === null) throw new PtxError(`address ${operand} of ${this.#entry.name} is not emulated`);
    return `${this.#value(match[1], "u64")} + ${match[2] ?? 0}`;
  }

  #memory(instruction: PtxInstruction): string {
    const { operation, operands } = instruction;
    const parts = operation.filter((part) => part !== "nc" && part !== "volatile");
    const [verb, space] = parts;
    const type = parts.at(-1)!;
    if (verb === "ld" && space === "param") {
      const parameter = this.#entry.parameters.findIndex((p) => `[${p.name}]` === operands[1]);
      if (parameter < 0) this.#refuse(instruction, `of ${operands[1]} is not emulated`);
      return `${this.#value(operands[0], type)} = a[${parameter}];`;
    }
    const lanes = parts.length === 3 ? 1 : parts[2] === "v2" ? 2 : parts[2] === "v4" ? 4 : 0;
    if (!["global", "shared"].includes(space) || !/^[bsuf]32$/.test(type) || lanes === 0) this.#refuse(instruction);
    if (operands.length !== 2) this.#refuse(instruction, `has ${operands.length} operands`);
    const [address, list] = verb === "ld" ? [operands[1], operands[0]] : [operands[0], operands[1]];
    const values = list.replace(/[{}\s]/g, "").split(",").map((operand) => this.#value(operand, type));
    if (values.length !== lanes) this.#refuse(instruction, `has ${values.length} values`);
    const call = `${verb === "ld" ? "read" : "write"}${space === "global" ? "Global" : "Shared"}`;
    const floats = type === "f32" || list.includes("%f");
    const code = values.map((value, lane) => {
      const word = `m.${floats ? "f32" : "i32"}[w + ${lane}]`;
      return verb === "ld" ? `${value} = ${word};` : `${word} = ${value};`;
    });
    return `w = m.${call}(${this.#address(address)}, ${lanes}, ${this.#site(instruction)}, tid_x); ${code.join(" ")}`;
  }

  #atomic(instruction: PtxInstruction): string {
    const { operation, operands } = instruction;
    const [verb, space, action, type] = operation;
    if (!["global", "shared"].includes(space) || action !== "add" || !["u32", "s32", "f32"].includes(type)) {
      this.#refuse(instruction);
    }
    const [address, addend] = operands.slice(verb === "atom" ? 1 : 0);
    const words = type === "f32" ? "m.f32" : "m.i32";
    const sum = type === "f32"
      ? `${words}[w] + ${this.#value(addend, type)}`
      : `${words}[w] + ${this.#value(addend, type)} | 0`;
    const old = verb === "atom" ? `${this.#value(operands[0], type)} = ${words}[w];` : "";
    return `w = m.atomic${space === "global" ? "Global" : "Shared"}(${this.#address(address)}, ${
      this.#site(instruction)
    }, tid_x); ${old} ${words}[w] = ${sum};`;
  }

  #exchange(instruction: PtxInstruction): string {
    const { operation, operands } = instruction;
    const name = operation.join(".");
    const shuffle = /^shfl\.sync\.(bfly|idx|up|down)\.b32$/.exec(name);
    if (shuffle === null && name !== "vote.sync.ballot.b32") this.#refuse(instruction);
    this.#waits = true;
    const number = this.#exchanges.push(shuffle === null ? "ballot" : shuffle[1] as ExchangeKind);
    const target = this.#value(operands[0], "b32");
    if (shuffle === null) {
      const [, vote, mask] = operands;
      return `m.offer(tid_x, ${this.#value(vote, "pred")} ? 1 : 0, 0, 31, ${this.#value(mask, "b32")}); ` +
        `yield ${number}; ${target} = m.received[tid_x];`;
    }
    const [, value, lane, control, mask] = operands.map((operand) => this.#value(operand, "b32"));
    return `m.offer(tid_x, ${value}, ${lane}, ${control}, ${mask}); yield ${number}; ${target} = m.received[tid_x];`;
  }
}
