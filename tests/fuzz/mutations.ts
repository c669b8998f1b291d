/** Random damage to valid files: single values of JSON, single bytes, single words of text. */
import fc from "fast-check";

/** Replaced in text by objects that are nested deeper than any stack. */
const DEEP = "@deep@";
const DEPTH = 50_000;

const ODD_VALUES = fc.constantFrom<unknown>(
  ...[-1, 0, 0.5, 1, 2, 3, 255, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 1e308, -1e308, 5e-324],
  ...["", ".", "..", "a/b", "/", "\0", "__proto__", "constructor", "0", "1e5", "NaN", "\ud800", DEEP],
  ...[null, true, false, [], {}, [[]], [null], { "": 0 }],
);
const odd = fc.oneof({ weight: 3, arbitrary: ODD_VALUES }, fc.jsonValue({ maxDepth: 3 }), fc.integer());

/** One change to a JSON value: which of its members, counted modulo their number, and what becomes of it. */
type JsonEdit = { at: number; what: "set"; value: unknown } | { at: number; what: "remove" | "double" | "rename" };

const jsonEdit: fc.Arbitrary<JsonEdit> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ at: fc.nat(), what: fc.constant("set" as const), value: odd }) },
  fc.record({ at: fc.nat(), what: fc.constantFrom("remove" as const, "double" as const, "rename" as const) }),
);

type Parent = Record<string, unknown>;

function members(value: unknown, found: [Parent, string][] = []): [Parent, string][] {
  if (typeof value !== "object" || value === null) return found;
  for (const key of Object.keys(value)) {
    found.push([value as Parent, key]);
    members((value as Parent)[key], found);
  }
  return found;
}

function applyJson(value: unknown, edits: readonly JsonEdit[]): unknown {
  const root: Parent = { root: structuredClone(value) };
  for (const edit of edits) {
    const all = members(root);
    if (all.length === 0) break;
    const [parent, key] = all[edit.at % all.length];
    if (edit.what === "set") parent[key] = structuredClone(edit.value);
    else if (edit.what === "remove") Array.isArray(parent) ? parent.splice(Number(key), 1) : delete parent[key];
    else if (Array.isArray(parent)) parent.push(structuredClone(parent[Number(key)]));
    else {
      parent[`${key}2`] = structuredClone(parent[key]);
      if (edit.what === "rename") delete parent[key];
    }
  }
  return root.root;
}

/** A damaged JSON value, as a value. */
export function damagedJson(valid: unknown, most = 4): fc.Arbitrary<unknown> {
  return fc.array(jsonEdit, { minLength: 1, maxLength: most }).map((edits) => applyJson(valid, edits));
}

/** The text of a JSON value, which may be nested deeper than a stack is. */
export function textOf(value: unknown): string {
  const text = JSON.stringify(value) ?? "undefined";
  return text.replaceAll(`"${DEEP}"`, () => '{"0":'.repeat(DEPTH) + "[]" + "}".repeat(DEPTH));
}

/** A damaged JSON text: mostly of damaged values, sometimes damaged as a text. */
export function damagedJsonText(valid: unknown): fc.Arbitrary<string> {
  const text = JSON.stringify(valid, null, 1);
  return fc.oneof(
    { weight: 8, arbitrary: damagedJson(valid).map(textOf) },
    { weight: 2, arbitrary: damagedText(text) },
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.json({ maxDepth: 3 }),
  );
}

type TextEdit = { at: number; length: number; insert: number; copy: boolean };
const SNIPPETS = [
  ...[
    "",
    " ",
    "\n",
    ",",
    ";",
    ":",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    '"',
    "\\",
    "/*",
    "*/",
    "//",
    "%",
    "$",
    "@",
    "0",
    "-1",
  ],
  ...["99999999999999999999", "1e999", "null", "\0", "\ufeff", "é", "\ud800", ".", "__proto__"],
];

/** A damaged text: pieces are removed, copied to elsewhere or replaced by pieces that mean something. */
export function damagedText(valid: string, snippets: readonly string[] = []): fc.Arbitrary<string> {
  const all = [...SNIPPETS, ...snippets];
  const edit: fc.Arbitrary<TextEdit> = fc.record({
    at: fc.nat(),
    length: fc.oneof({ weight: 4, arbitrary: fc.nat(8) }, fc.nat(2000)),
    insert: fc.nat(all.length - 1),
    copy: fc.boolean(),
  });
  return fc.array(edit, { minLength: 1, maxLength: 4 }).map((edits) =>
    edits.reduce((text, { at, length, insert, copy }) => {
      const begin = at % (text.length + 1);
      const piece = copy ? text.slice(begin, begin + length) : all[insert];
      const target = copy ? (at * 31) % (text.length + 1) : begin;
      return text.slice(0, target) + piece + text.slice(copy ? target : target + length);
    }, valid)
  );
}

type ByteEdit = { at: number; what: "flip" | "set" | "word" | "cut" | "remove" | "insert"; value: number };
const byteEdit: fc.Arbitrary<ByteEdit> = fc.record({
  at: fc.nat(),
  what: fc.constantFrom("flip", "set", "set", "word", "word", "cut", "remove", "insert"),
  value: fc.oneof(fc.nat(255), fc.constantFrom(0x7fc00000, 0x7f800000, 0xff800000, 0xffffffff, 0x80000000, 1 << 20)),
});

/** Damaged bytes: bits, bytes and words changed, and pieces cut off, removed and put in. */
export function damagedBytes(valid: Uint8Array, least = 1): fc.Arbitrary<Uint8Array<ArrayBuffer>> {
  return fc.array(byteEdit, { minLength: least, maxLength: 4 }).map((edits) =>
    edits.reduce<Uint8Array<ArrayBuffer>>((bytes, { at, what, value }) => {
      const place = bytes.length === 0 ? 0 : at % bytes.length;
      if (what === "cut") return bytes.slice(0, place);
      if (what === "remove") return joined(bytes.subarray(0, place), bytes.subarray(place + 1 + value % 16));
      if (what === "insert") {
        return joined(bytes.subarray(0, place), new Uint8Array(1 + value % 16), bytes.subarray(place));
      }
      if (bytes.length === 0) return bytes;
      const changed = bytes.slice();
      if (what === "flip") changed[place] ^= 1 << value % 8;
      else if (what === "set") changed[place] = value;
      else if (bytes.length >= 4) new DataView(changed.buffer).setUint32(place & ~3 & (bytes.length - 4), value, true);
      return changed;
    }, valid.slice())
  );
}

function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
