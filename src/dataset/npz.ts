/**
 * The .npz file of facebookresearch/dlrm: a zip of NumPy arrays y (rows), X_int (rows, 13) and X_cat (rows, 26), each of
 * int32 or of float64, row by row or column by column. (dlrm itself writes X_cat as float64, column by column.)
 */
import { Buffer } from "node:buffer";
import { createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
// @ts-types="@types/yauzl"
import { openPromise } from "yauzl";
import { cannot, messageOf } from "../errors.ts";
import { type IntegerSource, VALUE_BYTES } from "./read_integers.ts";

/** Arrays in the order of the fields of a row. */
const ARRAYS = [{ name: "y", words: 1 }, { name: "X_int", words: 13 }, { name: "X_cat", words: 26 }] as const;
const TYPES: Readonly<Record<string, IntegerSource["type"]>> = { "<i4": "int32", "<f8": "float64" };
const MAGIC = "\x93NUMPY";

/**
 * Unpacks the arrays to files with `prefix`, without y if it is not read. Throws HotsetError with what is wrong in the
 * file.
 */
export async function extractNpz(
  path: string,
  prefix: string,
  labelled: boolean,
): Promise<{ sources: IntegerSource[]; rows: number }> {
  const arrays = ARRAYS.filter(({ name }) => labelled || name !== "y");
  const fail = cannot(`read ${path}`);
  const found = new Map<string, string>();
  try {
    const zip = await openPromise(path, { lazyEntries: true });
    for await (const entry of zip.eachEntry()) {
      const name = entry.fileName.replace(/\.npy$/, "");
      if (!arrays.some((array) => array.name === name)) continue;
      const file = `${prefix}.${name}.npy`;
      await pipeline(await zip.openReadStreamPromise(entry), createWriteStream(file));
      found.set(name, file);
    }
  } catch (error) {
    fail(`not a complete .npz file: ${messageOf(error)}`);
  }
  let rows: number | undefined;
  const sources = arrays.flatMap(({ name, words }): IntegerSource[] => {
    const file = found.get(name) ?? fail(`it has no array ${name}`);
    const { at, dtype, fortran, shape } = readHeader(file) ?? fail(`${name} is not a NumPy array`);
    const expected = words === 1 ? 1 : 2;
    const type = Object.hasOwn(TYPES, dtype) ? TYPES[dtype] : fail(`${name} is of type ${dtype}, not int32 or float64`);
    if (shape.length !== expected || (words > 1 && shape[1] !== words)) {
      fail(`${name} has the shape (${shape.join(", ")}) instead of (rows${words > 1 ? `, ${words}` : ""})`);
    }
    rows ??= shape[0];
    if (shape[0] !== rows) fail(`${name} has ${shape[0]} rows and ${arrays[0].name} has ${rows}`);
    const column = VALUE_BYTES[type] * rows;
    if (Deno.statSync(file).size !== at + words * column) fail(`${name} is truncated`);
    if (!fortran) return [{ file, at, words, type }];
    return Array.from({ length: words }, (_, i) => ({ file, at: at + i * column, words: 1, type }));
  });
  return { sources, rows: rows! };
}

/** The header of a .npy file: a Python dictionary after its length. */
function readHeader(path: string): { at: number; dtype: string; fortran: boolean; shape: number[] } | undefined {
  using file = Deno.openSync(path);
  const bytes = Buffer.alloc(1024);
  file.readSync(bytes);
  if (bytes.toString("latin1", 0, MAGIC.length) !== MAGIC) return undefined;
  const [begin, length] = bytes[6] === 1 ? [10, bytes.readUInt16LE(8)] : [12, bytes.readUInt32LE(8)];
  const text = bytes.toString("latin1", begin, begin + length);
  const dtype = /'descr': '([^']*)'/.exec(text)?.[1];
  const shape = /'shape': \(([^)]*)\)/.exec(text)?.[1].split(",").filter((s) => s.trim() !== "").map(Number);
  if (dtype === undefined || shape === undefined) return undefined;
  return { at: begin + length, dtype, fortran: /'fortran_order': True/.test(text), shape };
}
