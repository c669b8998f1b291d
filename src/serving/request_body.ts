/** Reads the rows of a request, within limits. */
import type { Row } from "../dataset/row_encoder.ts";

/** Limits of requests. */
export interface RequestLimits {
  /** Maximum bytes of a body. */
  readonly maxBodyBytes: number;
  /** Maximum rows of a request. */
  readonly maxRows: number;
  /** Milliseconds within which a request must have arrived and its scoring begun. */
  readonly timeoutMs: number;
}

/** A request that is refused; the server continues. */
export class Refused extends Error {
  readonly status: number;
  readonly code: string;

  /** `code` is for programs, the message for people. */
  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The rows in the body of a request. Throws Refused. */
export async function readRows(request: Request, limits: RequestLimits): Promise<readonly Row[]> {
  const text = await readText(request, limits);
  let rows: unknown;
  try {
    rows = JSON.parse(text);
  } catch (error) {
    throw new Refused(400, "bad-json", `the body is no JSON: ${(error as Error).message}`);
  }
  if (!Array.isArray(rows)) throw new Refused(400, "bad-json", "the body is no array of rows: [{...}, ...]");
  const { maxRows } = limits;
  if (rows.length > maxRows) {
    throw new Refused(413, "too-large", `${rows.length} rows, where ${maxRows} are allowed; send several requests`);
  }
  return rows;
}

async function readText(request: Request, { maxBodyBytes, timeoutMs }: RequestLimits): Promise<string> {
  const tooLarge = () => new Refused(413, "too-large", `the body has more than ${maxBodyBytes} bytes`);
  if (Number(request.headers.get("content-length") ?? 0) > maxBodyBytes) throw tooLarge();
  if (request.body === null) return "";
  const reader = request.body.getReader();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    reader.cancel().catch(() => {}); // makes the pending read end
  }, timeoutMs);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let text = "";
  try {
    for (let bytes = 0;;) {
      const { done, value } = await reader.read();
      if (done) break;
      bytes += value.length;
      if (bytes > maxBodyBytes) {
        reader.cancel().catch(() => {});
        throw tooLarge();
      }
      text += decoder.decode(value, { stream: true });
    }
    text += decoder.decode();
  } catch (error) {
    if (error instanceof Refused) throw error;
    if (error instanceof TypeError) throw new Refused(400, "bad-json", "the body is no UTF-8 text, or ended early");
    throw new Refused(400, "bad-json", `the body cannot be read: ${(error as Error).message}`);
  } finally {
    clearTimeout(timer);
  }
  if (late) throw new Refused(408, "timeout", `the body did not arrive within ${timeoutMs} ms`);
  return text;
}
