/** Writes a CSV file of invented clicks, for the other examples: deno run -A examples/clicks.ts clicks.csv 20000 */
const [file = "clicks.csv", rows = "20000"] = Deno.args;

let state = 1;
const random = () => (state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff) / 0x80000000;
/** A number below `count`; small ones are popular. */
const popular = (count: number) => Math.floor(count * random() ** 3);

const lines = ["clicked,price,age,user,item,tags"];
for (let i = 0; i < Number(rows); i++) {
  const [user, item, price, age] = [popular(2000), popular(500), Math.floor(random() * 100), 18 + popular(60)];
  const tags = Array.from({ length: popular(4) }, () => `t${popular(30)}`).join("|");
  const clicks = 1 / (1 + Math.exp(1 + price / 50 + (item % 7) / 2 - (user % 5) / 2));
  lines.push(`${random() < clicks ? 1 : 0},${price},${age},u${user},i${item},${tags}`);
}
Deno.writeTextFileSync(file, lines.join("\n") + "\n");
