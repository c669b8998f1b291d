/** The command line; cli/ has the commands. */
import { main } from "./cli/main.ts";

await main(Deno.args);
