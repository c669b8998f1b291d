/** Tables that commands write to pages of the documentation, between two markers. */

const ROOT = new URL("../", import.meta.url);

/**
 * Replaces the table `name` in a text. Its markers are `<!-- NAME -->` and `<!-- /NAME -->`; the second one has only the
 * first word of the name. Throws if the text has no such markers.
 */
export function withTable(text: string, name: string, table: string): string {
  const begin = `<!-- ${name} -->`, end = `<!-- /${name.split(" ")[0]} -->`;
  const from = text.indexOf(begin), to = text.indexOf(end, from);
  if (from < 0 || to < 0) throw new Error(`no place for the table ${name}: add "${begin}" and "${end}"`);
  return `${text.slice(0, from + begin.length)}\n\n${table}\n\n${text.slice(to)}`;
}

/** Replaces the table `name` in a page, given by its path in the project, and formats the page. */
export function writeTable(page: string, name: string, table: string): void {
  const path = new URL(page, ROOT);
  Deno.writeTextFileSync(path, withTable(Deno.readTextFileSync(path), name, table));
  const { success, stderr } = new Deno.Command(Deno.execPath(), { args: ["fmt", "--quiet", path.pathname] })
    .outputSync();
  if (!success) throw new Error(`deno fmt ${page}: ${new TextDecoder().decode(stderr)}`);
}
