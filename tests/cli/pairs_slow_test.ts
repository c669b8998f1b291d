/** Commands that need a preset choose the same one for data of pairs. */
import assert from "node:assert/strict";
import { jsonLines, Workplace } from "./support.ts";

Deno.test("plan, profile, layout, sweep and train choose the same preset for pairs, and tell so", async () => {
  using place = new Workplace();
  const rows = Array.from({ length: 600 }, (_, i) => `${i * i % 7 < 3 ? 1 : 0},u${i % 23},i${i * i % 31}\n`);
  place.write("log.csv", `y,user,item\n${rows.join("")}`);
  const columns = [{ name: "y", kind: "label" }, { name: "user", kind: "sparse" }, { name: "item", kind: "sparse" }];
  place.write("schema.json", JSON.stringify({ columns }));
  await place.succeed("prepare", "log.csv", "--format", "csv", "--schema", "schema.json", "--out", "data");
  const told = async (...args: string[]) => {
    const { code, stdout, stderr } = await place.run(...args);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /The data is two sparse features alone, so the preset is pairs/, args.join(" "));
    return stdout;
  };
  const model = (run: string) => JSON.parse(Deno.readTextFileSync(place.join(run, "run.json"))).config.model;

  const [planned] = jsonLines(await told("plan", "data", "--json"));
  assert.equal(planned.tables[0].bytes, 4 * 32 * planned.tables[0].rows, "rows of preset pairs");
  const [profiled] = jsonLines(await told("profile", "data", "--json"));
  assert.equal(profiled.hotBytes, profiled.hotRows * 4 * 3 * 32, "with two moments a weight");
  await told("layout", "data");
  await told("sweep", "data", "--seed", "1..2", "--out", "sweep");
  assert.deepEqual([model("sweep/seed=1"), model("sweep/seed=2")], ["mf", "mf"]);
  await told("train", "data", "--mode", "fae", "--out", "hotset/run");
  assert.equal(model("hotset/run"), "mf");
  const layouts = [...Deno.readDirSync(place.join("hotset/layouts"))].filter(({ name }) => !name.startsWith("."));
  assert.equal(layouts.length, 1, "train uses the layout that was made for it");
});
