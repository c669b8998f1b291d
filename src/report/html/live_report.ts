/** The report of a run as a page that changes while the run trains, for browsers on this machine. */
import { join } from "node:path";
import { Dataset } from "../../dataset/dataset.ts";
import { attempt, HotsetError } from "../../errors.ts";
import { readRunLog } from "../../run/run_log.ts";
import { METRICS_FILE } from "../../run/run_metrics.ts";
import { readRun } from "../../run/run_record.ts";
import { type Page, pageHtml } from "./page.ts";
import { runPage } from "./run_report.ts";

/** Milliseconds between looks at the run's file of events. */
const LOOK_EVERY_MS = 500;
/** Milliseconds after which a connection without news gets a line, so that nothing in between closes it. */
const SIGN_EVERY_MS = 15_000;
const HOSTNAME = "127.0.0.1";
/** Names by which a browser on this machine may ask; another name was resolved to it by somebody else's page. */
const NAMES = [HOSTNAME, "localhost"];

/** Takes the new page at every event, and keeps open what the reader has opened. */
const SCRIPT = `
const main = document.querySelector("main");
const show = (text) => document.querySelector("footer").textContent = text;
const source = new EventSource("events");
source.onmessage = async () => {
  const page = new DOMParser().parseFromString(await (await fetch(".")).text(), "text/html");
  const open = [...main.querySelectorAll("details")].map((each) => each.open);
  main.replaceChildren(...page.querySelector("main").children);
  main.querySelectorAll("details").forEach((each, i) => each.open = open[i] ?? false);
  show("Written by Hotset. Live: changes as the run trains.");
};
source.onerror = () => show("Written by Hotset. Not connected: hotset report --watch has ended.");
`;

/** A server of one page about a run, on this machine alone. */
export class LiveReport implements AsyncDisposable {
  readonly #run: string;
  readonly #dataset: Dataset | undefined;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #listeners = new Set<ReadableStreamDefaultController<Uint8Array>>();
  readonly #timer: ReturnType<typeof setInterval>;
  #seen = "";
  #signed = performance.now();
  #page = { of: "", html: "" };

  /**
   * Listens at a port of 127.0.0.1; 0 is any free port. Throws HotsetError if the directory is not a run or the port
   * cannot be used.
   */
  constructor(run: string, port = 0) {
    this.#run = run;
    this.#dataset = openIfThere(readRun(run).dataset);
    const serve = () =>
      Deno.serve({ hostname: HOSTNAME, port, onListen: () => {} }, (request) => this.#answer(request));
    this.#server = attempt(`Cannot listen at ${HOSTNAME}:${port}`, serve);
    this.#seen = this.#version();
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  /** Address of the page. */
  get url(): string {
    return `http://${HOSTNAME}:${this.#server.addr.port}/`;
  }

  async #answer(request: Request): Promise<Response> {
    const { hostname, pathname } = new URL(request.url);
    if (!NAMES.includes(hostname)) return new Response("Not for other hosts\n", { status: 403 });
    if (request.method !== "GET") return new Response("Only GET\n", { status: 405, headers: { allow: "GET" } });
    if (pathname === "/events") return this.#events();
    if (pathname !== "/") return new Response("Not found\n", { status: 404 });
    return new Response(await this.#html(), {
      headers: {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-store",
        "content-security-policy": "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; " +
          "img-src data:; frame-ancestors 'none'",
      },
    });
  }

  /** The page; rendered again when the run has new events. */
  async #html(): Promise<string> {
    const version = this.#version();
    if (this.#page.of !== version) {
      this.#page = { of: version, html: pageHtml(await this.#content(), SCRIPT) };
    }
    return this.#page.html;
  }

  async #content(): Promise<Page> {
    try {
      return await runPage(this.#run, readRunLog(this.#run), this.#dataset);
    } catch (error) {
      if (!(error instanceof HotsetError)) throw error;
      const log = {
        progress: [],
        evaluations: [],
        phases: [],
        spent: [],
        layout: undefined,
        result: undefined,
        diverged: undefined,
      };
      const page = await runPage(this.#run, log, this.#dataset);
      return { ...page, sections: [], subtitle: `${page.subtitle} It has no events yet.` };
    }
  }

  /** One stream of server-sent events: a message whenever the page has changed. */
  #events(): Response {
    let own: ReadableStreamDefaultController<Uint8Array>;
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => {
        own = controller;
        this.#listeners.add(controller);
        controller.enqueue(line("data: connected\n\n"));
      },
      cancel: () => {
        this.#listeners.delete(own);
      },
    });
    return new Response(stream, { headers: { "content-type": "text/event-stream", "cache-control": "no-store" } });
  }

  #look(): void {
    const version = this.#version();
    const changed = version !== this.#seen;
    this.#seen = version;
    if (!changed && performance.now() - this.#signed < SIGN_EVERY_MS) return;
    this.#signed = performance.now();
    const text = line(changed ? "data: changed\n\n" : ": still here\n\n");
    for (const listener of this.#listeners) listener.enqueue(text);
  }

  /** Changes with the run's file of events. */
  #version(): string {
    try {
      const { size, mtime } = Deno.statSync(join(this.#run, METRICS_FILE));
      return `${size} ${mtime?.getTime()}`;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return "none";
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    for (const listener of this.#listeners) listener.close();
    await this.#server.shutdown();
  }
}

function line(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The dataset, without reading its samples; undefined if it is not there: the page has less to say then. */
function openIfThere(directory: string): Dataset | undefined {
  try {
    return Dataset.open(directory, "lengths");
  } catch (error) {
    if (error instanceof HotsetError) return undefined;
    throw error;
  }
}
