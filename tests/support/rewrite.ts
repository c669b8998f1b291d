/** Changes JSON files and updates their checksums. */
import { withChecksum } from "../../src/storage/artifact.ts";

/** Writes a JSON text with a valid checksum. */
export function rewrite(path: string, text: string): void {
  const { crc32: _old, ...record } = JSON.parse(text);
  Deno.writeTextFileSync(path, JSON.stringify(withChecksum(record), null, 1) + "\n");
}
