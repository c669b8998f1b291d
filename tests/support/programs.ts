/** Tests that need a program of the system. */

function isInstalled(program: string): boolean {
  try {
    return new Deno.Command(program, { args: ["--version"] }).outputSync().success;
  } catch {
    return false;
  }
}

/** A test that needs a program; where it is missing the name says so. */
export function testWith(program: string, name: string, fn: () => void): void {
  const ignore = !isInstalled(program);
  Deno.test({ name: ignore ? `${name} (skipped: ${program} is not installed)` : name, ignore, fn });
}
