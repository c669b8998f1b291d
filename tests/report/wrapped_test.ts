import assert from "node:assert/strict";
import { wrapped } from "../../src/format.ts";

Deno.test("wrapped() breaks lines at spaces alone, and keeps words and line breaks", () => {
  assert.equal(wrapped("one two three", 7), "one two\nthree");
  assert.equal(wrapped("one two three", 6), "one\ntwo\nthree");
  assert.equal(wrapped("/a/long/path of it\nnext", 5), "/a/long/path\nof it\nnext");
  assert.equal(wrapped("a share of 31 %", 13), "a share of\n31 %");
  const text = "all  of it\n\nremains";
  assert.equal(wrapped(text, Infinity), text);
});
