/** Headless Chromium, controlled over its DevTools protocol: loads a page, takes screenshots, collects errors. */
import { TemporaryDirectory } from "./temporary.ts";

/** Settings of a page. */
export interface View {
  /** CSS pixels. */
  readonly width: number;
  readonly dark: boolean;
  readonly print?: boolean;
}

/** Names under which distributions install the browser. */
const NAMES = ["chromium", "chromium-browser", "google-chrome"];
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--hide-scrollbars",
  "--remote-debugging-port=0",
];

/** Path of the browser; undefined if none is installed. */
export function findBrowser(): string | undefined {
  const folders = (Deno.env.get("PATH") ?? "").split(":");
  return folders.flatMap((folder) => NAMES.map((name) => `${folder}/${name}`)).find((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });
}

interface Answer {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

/** A browser with one page. */
export class Browser implements AsyncDisposable {
  /** Errors and warnings of the page's console, requests over the network, and exceptions since the last `open`. */
  readonly complaints: string[] = [];
  readonly #process: Deno.ChildProcess;
  readonly #profile: TemporaryDirectory;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #session: string | undefined;
  #loaded: (() => void) | undefined;
  #nextId = 1;
  #site: string | undefined;

  private constructor(process: Deno.ChildProcess, profile: TemporaryDirectory, socket: WebSocket) {
    this.#process = process;
    this.#profile = profile;
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
  }

  /** Starts the browser at `path`. */
  static async start(path: string): Promise<Browser> {
    const profile = new TemporaryDirectory();
    const process = new Deno.Command(path, {
      args: [...FLAGS, `--user-data-dir=${profile.path}`, "about:blank"],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const socket = new WebSocket(await debuggerAddress(process.stderr));
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = reject;
    });
    const browser = new Browser(process, profile, socket);
    const { targetId } = await browser.#call("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await browser.#call("Target.attachToTarget", { targetId, flatten: true });
    browser.#session = sessionId as string;
    for (const domain of ["Page", "Runtime", "Log", "Network"]) await browser.#call(`${domain}.enable`);
    return browser;
  }

  /** Loads a file, or a page of `site`, which may load more of it, and returns when it is complete. */
  async open(page: string, site?: string): Promise<void> {
    this.complaints.length = 0;
    this.#site = site;
    const loaded = new Promise<void>((resolve) => this.#loaded = resolve);
    await this.#call("Page.navigate", { url: site === undefined ? `file://${page}` : page });
    await loaded;
  }

  /** Changes the settings of the page. */
  async look({ width, dark, print = false }: View): Promise<void> {
    await this.#call("Emulation.setDeviceMetricsOverride", {
      width,
      height: 900,
      deviceScaleFactor: 1,
      mobile: width < 500,
    });
    await this.#call("Emulation.setEmulatedMedia", {
      media: print ? "print" : "screen",
      features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }],
    });
  }

  /** The whole page as PNG. */
  async screenshot(): Promise<Uint8Array> {
    const { data } = await this.#call("Page.captureScreenshot", { format: "png", captureBeyondViewport: true });
    return Uint8Array.from(atob(data as string), (letter) => letter.charCodeAt(0));
  }

  /** Value of an expression in the page. */
  async evaluate(expression: string): Promise<unknown> {
    const { result } = await this.#call("Runtime.evaluate", { expression, returnByValue: true });
    return (result as { value?: unknown }).value;
  }

  #call(method: string, params: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const id = this.#nextId++;
    const call = this.#session === undefined
      ? { id, method, params }
      : { id, method, params, sessionId: this.#session };
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ result, error }) => {
        if (error === undefined) resolve(result ?? {});
        else reject(new Error(`${method}: ${error.message}`));
      });
      this.#socket.send(JSON.stringify(call));
    });
  }

  #receive({ id, method, params, ...answer }: Answer): void {
    if (id !== undefined) {
      this.#waiting.get(id)?.(answer);
      this.#waiting.delete(id);
      return;
    }
    const complain = (value: unknown) => this.complaints.push(`${method}: ${JSON.stringify(value)}`);
    const { type, entry, exceptionDetails, request } = params as Record<string, Record<string, unknown>>;
    if (method === "Page.loadEventFired") this.#loaded?.();
    else if (method === "Runtime.exceptionThrown") complain(exceptionDetails);
    else if (method === "Runtime.consoleAPICalled" && /error|warning|assert/.test(String(type))) complain(params);
    else if (method === "Log.entryAdded" && /error|warning/.test(String(entry.level))) complain(entry);
    else if (method === "Network.requestWillBeSent" && !/^(file|data|about):/.test(String(request.url))) {
      if (this.#site === undefined || !String(request.url).startsWith(this.#site)) complain(request.url);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#socket.onclose = resolve);
    this.#session = undefined;
    this.#call("Browser.close").catch(() => {});
    await closed;
    await this.#process.status;
    await new Promise((resolve) => setTimeout(resolve, 200)); // its child processes may still write to the profile
    this.#profile[Symbol.dispose]();
  }
}

/** Reads the browser's stderr until it prints the address of its debugger, and discards the rest. */
async function debuggerAddress(stderr: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  const reader = stderr.pipeThrough(new TextDecoderStream() as never) as ReadableStream<string>;
  const chunks = reader[Symbol.asyncIterator]();
  for (;;) {
    const { done, value } = await chunks.next();
    if (done) throw new Error(`the browser ended: ${text}`);
    text += value;
    const match = /DevTools listening on (ws:\S+)/.exec(text);
    if (match === null) continue;
    (async () => {
      while (!(await chunks.next()).done);
    })().catch(() => {});
    return match[1];
  }
}
