/** Scores rows over HTTP with a model in memory. */
import { HotsetError, messageOf } from "../errors.ts";
import { Batcher } from "./batcher.ts";
import { readRows, Refused, type RequestLimits } from "./request_body.ts";
import { RequestMetrics, type Sample } from "./server_metrics.ts";
import { type ModelFacts, openModel, type OpenModelOptions, openOther, type ScoringModel } from "./scoring_model.ts";

/** Address and limits of a server. */
export interface ServerOptions extends RequestLimits, OpenModelOptions {
  readonly hostname: string;
  /** Port; 0 for any free port. */
  readonly port: number;
}

/** Maximum number of waiting rows, as a multiple of the maximum rows of a request. */
const WAITING_REQUESTS = 64;
/** Time for pending answers when the server closes, in milliseconds, in addition to the timeout of a request. */
const GRACE_MS = 1000;
/** Headers of requests that a browser or a proxy sends on behalf of others. */
const NOT_LOCAL = ["origin", "forwarded", "x-forwarded-for", "via"];

type Handler = (request: Request, from: Deno.NetAddr) => Promise<Response> | Response;

/** A server for the model of one run. It has no authentication. */
export class ScoringServer {
  readonly #options: ServerOptions;
  readonly #batcher = new Batcher();
  readonly #metrics = new RequestMetrics();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #routes: Readonly<Record<string, readonly [method: string, handler: Handler]>>;
  #model: ScoringModel;
  #reloading: Promise<boolean> | undefined;
  #reloads = 0;
  #closing = false;

  private constructor(model: ScoringModel, options: ServerOptions) {
    this.#model = model;
    this.#options = options;
    this.#routes = {
      "/score": ["POST", (request) => this.#score(request)],
      "/reload": ["POST", (request, from) => this.#reload(request, from)],
      "/healthz": ["GET", () => json(200, { status: "ok" })],
      "/readyz": ["GET", () => this.#ready()],
      "/metrics": ["GET", () => this.#metricsText()],
    };
    const { hostname, port } = options;
    this.#server = Deno.serve({
      hostname,
      port,
      onListen: () => {},
    }, (request, { remoteAddr }) => this.#answer(request, remoteAddr));
  }

  /**
   * Loads the best checkpoint of a run and listens. Throws HotsetError if the model cannot be loaded or the address
   * cannot be used.
   */
  static async start(run: string, options: ServerOptions): Promise<ScoringServer> {
    const model = await openModel(run, options);
    try {
      return new ScoringServer(model, options);
    } catch (error) {
      model[Symbol.dispose]();
      throw new HotsetError(`Cannot listen at ${options.hostname}:${options.port}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  /** URL of the server. */
  get url(): string {
    const { hostname, port } = this.#server.addr;
    return `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;
  }

  /** Properties of the current model. */
  get facts(): ModelFacts {
    return this.#model.facts;
  }

  /**
   * Loads the run's best checkpoint if it has changed. Earlier requests are answered by the earlier model. Returns true
   * if the model changed. If the new checkpoint cannot be loaded, throws HotsetError and keeps the earlier model.
   */
  reload(): Promise<boolean> {
    return this.#reloading ??= this.#loadNewer().finally(() => this.#reloading = undefined);
  }

  async #loadNewer(): Promise<boolean> {
    const { path, checkpoint } = this.#model.facts;
    const model = await openOther(path, checkpoint, this.#options);
    if (model === undefined) return false;
    using earlier = this.#model;
    this.#model = model;
    this.#reloads++;
    await this.#batcher.finish(earlier);
    return true;
  }

  /** Stops accepting connections, answers pending requests, and ends. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#server.unref();
    let timer;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, this.#options.timeoutMs + GRACE_MS));
    await Promise.race([this.#server.shutdown(), late]);
    clearTimeout(timer);
    this.#model[Symbol.dispose]();
  }

  async #answer(request: Request, from: Deno.NetAddr): Promise<Response> {
    const begin = performance.now();
    const { pathname } = new URL(request.url);
    const route = Object.hasOwn(this.#routes, pathname) ? this.#routes[pathname] : undefined;
    let response: Response;
    try {
      if (route === undefined) throw new Refused(404, "not-found", `there is no ${pathname}; see docs/serving.md`);
      const [method, handle] = route;
      if (request.method !== method) throw new Refused(405, "bad-method", `${pathname} takes ${method} alone`);
      response = await handle(request, from);
    } catch (error) {
      response = answerOf(error);
      // Closes the connection, because the rest of the body was not read.
      if (response.status === 408 || response.status === 413) response.headers.set("connection", "close");
      if (response.status === 405) response.headers.set("allow", route![0]);
    }
    this.#metrics.count(
      route === undefined ? "other" : pathname,
      response.status,
      (performance.now() - begin) / 1000,
    );
    return response;
  }

  async #score(request: Request): Promise<Response> {
    const deadline = performance.now() + this.#options.timeoutMs;
    const rows = await readRows(request, this.#options);
    if (this.#batcher.waiting > WAITING_REQUESTS * this.#options.maxRows) {
      throw new Refused(503, "busy", `${this.#batcher.waiting} rows wait; try again later`);
    }
    const probabilities = await this.#batcher.score(this.#model, rows, deadline);
    return json(200, Array.from(probabilities));
  }

  async #reload(request: Request, { hostname }: Deno.NetAddr): Promise<Response> {
    const local = ["127.0.0.1", "::1", "::ffff:127.0.0.1"].includes(hostname);
    if (!local || NOT_LOCAL.some((name) => request.headers.has(name))) {
      throw new Refused(403, "denied", "/reload is for programs on this machine");
    }
    const reloaded = await this.reload();
    return json(200, { reloaded, ...modelOf(this.facts) });
  }

  #ready(): Response {
    if (this.#closing) throw new Refused(503, "closing", "the server is closing");
    return json(200, { status: "ready", ...modelOf(this.facts) });
  }

  #metricsText(): Response {
    const { facts, unknownShare } = this.#model;
    const { batches, rows, waiting } = this.#batcher;
    const one = (name: string, type: Sample["type"], help: string, value: number, labels = {}): Sample => ({
      ...{ name, type, help, values: [[labels, value]] },
    });
    const text = this.#metrics.text([
      one("hotset_rows_total", "counter", "Rows scored.", rows),
      one("hotset_batches_total", "counter", "Batches of rows scored.", batches),
      one("hotset_waiting_rows", "gauge", "Rows that wait to be scored.", waiting),
      one("hotset_reloads_total", "counter", "Checkpoints loaded in the place of another.", this.#reloads),
      one("hotset_model_info", "gauge", "The checkpoint that scores.", 1, { checkpoint: facts.checkpoint }),
      one("hotset_model_step", "gauge", "Steps that the model was trained for.", facts.step),
      {
        name: "hotset_unknown_share",
        type: "gauge",
        help: "Share of the lookups whose value is unknown, since the model was loaded.",
        values: Object.entries(unknownShare).map(([table, share]) => [{ table }, share]),
      },
      one("process_resident_memory_bytes", "gauge", "Resident memory.", Deno.memoryUsage().rss),
    ]);
    return new Response(text, { headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" } });
  }
}

function modelOf({ path, checkpoint, step }: ModelFacts) {
  return { run: path, checkpoint, step };
}

function json(status: number, value: unknown): Response {
  return new Response(`${JSON.stringify(value)}\n`, { status, headers: { "content-type": "application/json" } });
}

/** The response for an error. Only rows that cannot be scored are the client's fault. */
function answerOf(error: unknown): Response {
  if (error instanceof Refused) return json(error.status, { code: error.code, message: error.message });
  if (!(error instanceof HotsetError)) {
    console.error(error);
    return json(500, { code: "defect", message: "a defect of Hotset; its log says where" });
  }
  const status = error.code === "bad-row" || error.code === "diverged" ? 400 : 500;
  return json(status, { code: error.code, message: error.message });
}
