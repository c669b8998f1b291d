/** A Markdown table, aligned as deno fmt does: the first column is text, the others are numbers. */
export function markdownTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length), 3));
  const lines = rows.map((row) =>
    `| ${row.map((cell, c) => c === 0 ? cell.padEnd(widths[c]) : cell.padStart(widths[c])).join(" | ")} |`
  );
  const rule = widths.map((width, c) => c === 0 ? "-".repeat(width) : "-".repeat(width - 1) + ":");
  return [lines[0], `| ${rule.join(" | ")} |`, ...lines.slice(1)].join("\n");
}
