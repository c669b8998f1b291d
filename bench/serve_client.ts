/**
 * A client of bench/serve.ts in a thread of its own, so that it does not delay the server: several connections, each of
 * which sends its next request after its last response. It speaks just enough HTTP, because fetch takes longer than the
 * server.
 */
/// <reference lib="deno.worker" />

/** What to send: `calls` requests in all or, if there is none, requests until the worker is told to end. */
export interface Load {
  readonly port: number;
  /** Bodies of requests, sent in turn. */
  readonly bodies: readonly string[];
  readonly connections: number;
  readonly calls?: number;
}

/** Times of responses in milliseconds, and the seconds in which they came. */
export interface Responses {
  readonly times: number[];
  readonly seconds: number;
}

const REPORT_MS = 10_000;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** One connection. */
class Connection {
  readonly #connection: Deno.TcpConn;
  readonly #buffer = new Uint8Array(4096);

  private constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  static async open(port: number): Promise<Connection> {
    const connection = await Deno.connect({ port });
    connection.setNoDelay();
    return new Connection(connection);
  }

  /** Sends a request and waits for all of its response. Throws unless the status is 200. */
  async post(request: Uint8Array): Promise<void> {
    for (let sent = 0; sent < request.length;) sent += await this.#connection.write(request.subarray(sent));
    for (let received = 0;;) {
      const count = await this.#connection.read(this.#buffer.subarray(received));
      if (count === null) throw new Error("the server closed the connection");
      const text = decoder.decode(this.#buffer.subarray(0, received += count));
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) continue;
      if (!text.startsWith("HTTP/1.1 200")) throw new Error(text);
      const length = /\r\ncontent-length: (\d+)/.exec(text)![1];
      if (received === end + 4 + Number(length)) return;
    }
  }
}

self.onmessage = async ({ data: { port, bodies, connections, calls = Infinity } }: MessageEvent<Load>) => {
  const requests = bodies.map((body) =>
    encoder.encode(`POST /score HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
  );
  let times: number[] = [];
  let begin = performance.now();
  const report = () => {
    const now = performance.now();
    self.postMessage({ times, seconds: (now - begin) / 1000 } satisfies Responses);
    [times, begin] = [[], now];
  };
  let next = 0;
  const client = async () => {
    const connection = await Connection.open(port);
    for (let i = next++; i < calls; i = next++) {
      const sent = performance.now();
      await connection.post(requests[i % requests.length]);
      times.push(performance.now() - sent);
      if (calls === Infinity && performance.now() - begin > REPORT_MS) report();
    }
  };
  await Promise.all(Array.from({ length: connections }, client));
  report();
};
