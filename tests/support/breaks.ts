/** Breaks of long work, in tests that depend on no clock. */
import { breaks } from "../../src/breaks.ts";

/** Number of breaks of some work, of which each is due as soon as it can be: it depends on the work alone. */
export async function breaksOf(work: () => Promise<unknown>): Promise<number> {
  let taken = 0;
  const take = breaks.take.bind(breaks);
  Object.defineProperties(breaks, {
    due: { value: true, configurable: true },
    take: {
      value: () => {
        taken++;
        return take();
      },
      configurable: true,
    },
  });
  try {
    await work();
  } finally {
    for (const name of ["due", "take"]) Reflect.deleteProperty(breaks, name);
  }
  return taken;
}
