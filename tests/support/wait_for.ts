/** Waits for what another process does. */
import assert from "node:assert/strict";

/** Waits until a condition is true, for at most 30 seconds. */
export async function waitFor(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 600 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(condition(), "it took too long");
}
