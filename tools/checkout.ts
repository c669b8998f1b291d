/** Checkouts of other commits, for tools that compare two. */
const ROOT = new URL("..", import.meta.url).pathname;

/** Calls `use` with a temporary checkout of a commit, or with the working tree. */
export async function inCheckout<T>(commit: string | undefined, use: (checkout: string) => Promise<T>): Promise<T> {
  if (commit === undefined) return await use(ROOT);
  const checkout = Deno.makeTempDirSync();
  const git = (...args: string[]) => new Deno.Command("git", { args: ["-C", ROOT, ...args] }).outputSync();
  try {
    const { success, stderr } = git("worktree", "add", "--detach", checkout, commit);
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    return await use(checkout);
  } finally {
    git("worktree", "remove", "--force", checkout);
  }
}
