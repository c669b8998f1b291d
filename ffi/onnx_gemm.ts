/** An ONNX model with one node: a product of two matrices of any size. */

export const INPUT_A = "A";
export const INPUT_B = "B";
export const OUTPUT = "C";

/** The first opset whose Gemm needs no third matrix, and its file format. */
const OPSET = 11;
const IR_VERSION = 6;
const FLOAT = 1;
const INTEGER_ATTRIBUTE = 2;

/** Bytes of the model. Field numbers are those of onnx.proto. */
export function gemmModel(transposeA: boolean, transposeB: boolean): Uint8Array<ArrayBuffer> {
  const node = [
    text(1, INPUT_A),
    text(1, INPUT_B),
    text(2, OUTPUT),
    text(4, "Gemm"),
    message(5, attribute("transA", transposeA)),
    message(5, attribute("transB", transposeB)),
  ];
  const graph = [
    message(1, node),
    text(2, "gemm"),
    message(11, matrix(INPUT_A, ["a0", "a1"])),
    message(11, matrix(INPUT_B, ["b0", "b1"])),
    message(12, matrix(OUTPUT, ["m", "n"])),
  ];
  const operators = [text(1, ""), integer(2, OPSET)];
  return Uint8Array.from([integer(1, IR_VERSION), message(7, graph), message(8, operators)].flat());
}

function attribute(name: string, value: boolean): number[][] {
  return [text(1, name), integer(3, value ? 1 : 0), integer(20, INTEGER_ATTRIBUTE)];
}

/** Declares a matrix of floats with symbolic sizes. */
function matrix(name: string, sizes: readonly string[]): number[][] {
  const shape = sizes.map((size) => message(1, [text(2, size)]));
  const tensor = [integer(1, FLOAT), message(2, shape)];
  return [text(1, name), message(2, [message(1, tensor)])];
}

/** A field with an integer. */
function integer(field: number, value: number): number[] {
  return [...varint(field << 3), ...varint(value)];
}

function text(field: number, value: string): number[] {
  return message(field, [[...new TextEncoder().encode(value)]]);
}

/** A field with a length and that many bytes. */
function message(field: number, parts: readonly number[][]): number[] {
  const bytes = parts.flat();
  return [...varint(field << 3 | 2), ...varint(bytes.length), ...bytes];
}

/** An integer in groups of seven bits, lowest first; all groups but the last have the high bit set. */
function varint(value: number): number[] {
  return value < 128 ? [value] : [value & 127 | 128, ...varint(value >>> 7)];
}
