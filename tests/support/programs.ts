/** Tests that need an installed program. */

/** True if the program is on the PATH. */
export function isInstalled(program: string): boolean {
  try {
    return new Deno.Command(program, { args: ["--version"] }).outputSync().success;
  } catch {
    return false;
  }
}

/** A test that needs a program; its name says so if the program is missing. */
export function testWith(program: string, name: string, fn: () => void): void {
  const ignore = !isInstalled(program);
  Deno.test({ name: ignore ? `${name} (skipped: ${program} is not installed)` : name, ignore, fn });
}
