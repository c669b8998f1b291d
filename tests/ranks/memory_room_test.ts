import assert from "node:assert/strict";
import { cgroupRoom } from "../../src/ranks/memory_room.ts";

Deno.test("the room of a control group is its limit less what it uses, page cache apart", () => {
  const room = (files: Record<string, string>) => cgroupRoom((path) => files[path.replace("/sys/fs/cgroup/", "")]);
  assert.equal(room({}), Infinity);
  const two = { "memory.current": "900\n", "memory.stat": "anon 200\ninactive_file 600\nactive_file 100\n" };
  assert.equal(room({ ...two, "memory.max": "1000\n" }), 700);
  assert.equal(room({ ...two, "memory.max": "max\n" }), Infinity);
  assert.equal(room({ "memory.max": "1000\n", "memory.current": "1200\n" }), 0);
  const one = {
    "memory/memory.limit_in_bytes": "500\n",
    "memory/memory.usage_in_bytes": "450\n",
    "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 50\n",
  };
  assert.equal(room(one), 100);
  assert.equal(room({ ...one, ...two, "memory.max": "1000\n" }), 100);
  // The process's own group, and those that it is in, each with a limit.
  const own = { "/proc/self/cgroup": "4:memory:/a/b\n0::/c/d\n" };
  assert.equal(room({ ...own, "c/memory.max": "90\n", "c/memory.current": "30\n" }), 60);
  const inner = { "memory/a/b/memory.limit_in_bytes": "45\n", "memory/a/b/memory.usage_in_bytes": "5\n" };
  assert.equal(room({ ...own, ...one, ...inner }), 40);
  assert.equal(room({ ...own, ...inner, "c/d/memory.max": "9\n", "c/d/memory.current": "2\n" }), 7);
});
