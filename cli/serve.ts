import type { Command } from "commander";
import { ScoringServer } from "../src/serving/server.ts";
import { readBytes } from "../src/config/option_types.ts";
import { Flag } from "./flag.ts";
import { type Common, port, positive, reading, untilAborted } from "./common_options.ts";
import { eventLine, run } from "./run.ts";

interface ServeFlags extends Common {
  host: string;
  port: number;
  maxBody: number;
  maxRows: number;
  timeout: number;
  rowMemory?: number;
}

const LOOPBACK = ["127.0.0.1", "localhost", "::1"];

const seconds = reading((text) => {
  const value = Number(text);
  if (text.trim() !== "" && value > 0 && value <= 3600) return value;
  throw new Error("must be seconds, above 0 and at most 3600");
});

/** The smallest body is `[]`. */
const bodyBytes = reading((text) => {
  const value = readBytes(text);
  if (value >= 2) return value;
  throw new Error("must be at least 2 bytes, as in 4MiB");
});

/** hotset serve */
export function serve(program: Command): void {
  program.command("serve")
    .description("Score rows over HTTP with a run's best checkpoint, without authentication.")
    .argument("<run>", "directory made by train, or file made by pack")
    .addOption(new Flag("--port <n>", "port to listen on; 0 for any free port").argParser(port).default(8080))
    .addOption(new Flag("--host <address>", "address to listen on; 0.0.0.0 for all").default("127.0.0.1"))
    .addOption(
      new Flag("--max-body <bytes>", "maximum size of a request").argParser(bodyBytes).default(
        4 * 2 ** 20,
        "4MiB",
      ),
    )
    .addOption(new Flag("--max-rows <n>", "maximum rows of a request").argParser(positive).default(10_000))
    .addOption(
      new Flag("--timeout <seconds>", "time within which a request must arrive and its scoring begin").argParser(
        seconds,
      )
        .default(5),
    )
    .addOption(
      new Flag("--row-memory <bytes>", "maximum size of the embedding rows in memory; others are read from the disk")
        .argParser(reading(readBytes)),
    )
    .addHelpText("after", "\nExample: hotset serve hotset/run-1 --port 8080")
    .action((directory: string, flags: ServeFlags) =>
      run(flags, async (_report, _, { signal }) => {
        const { host: hostname, port, maxBody: maxBodyBytes, maxRows, timeout, rowMemory } = flags;
        const server = await ScoringServer.start(directory, {
          ...{ hostname, port, maxBodyBytes, maxRows, timeoutMs: 1000 * timeout, rowMemory },
        });
        const { url, facts } = server;
        if (flags.json) console.log(eventLine({ event: "serving", url, run: directory, step: facts.step }));
        else console.log(`Serving ${directory} (step ${facts.step}) at ${url}/score, without authentication`);
        if (!LOOPBACK.includes(hostname)) {
          console.error(`Anyone who can reach ${url} can use it: put a proxy with authentication in front of it`);
        }
        await untilAborted(signal);
        await server.close();
      })
    );
}
