/** Metrics of a server in the text format of Prometheus. */

/** Upper bounds of the buckets of the latency histogram, in seconds. */
const BOUNDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

type Labels = Readonly<Record<string, string | number>>;

/** A value that is read when metrics are requested. */
export interface Sample {
  readonly name: string;
  readonly type: "counter" | "gauge";
  readonly help: string;
  readonly values: readonly (readonly [Labels, number])[];
}

/** Counters of a server's requests. */
export class RequestMetrics {
  readonly #requests = new Map<string, { labels: Labels; count: number }>();
  readonly #within = new Float64Array(BOUNDS.length + 1);
  #seconds = 0;

  /** Counts a request, and its latency if it was scored. */
  count(path: string, status: number, seconds: number): void {
    const key = `${path} ${status}`;
    const found = this.#requests.get(key) ?? { labels: { path, status }, count: 0 };
    found.count++;
    this.#requests.set(key, found);
    if (path !== "/score" || status !== 200) return;
    const bucket = BOUNDS.findIndex((bound) => seconds <= bound);
    this.#within[bucket < 0 ? BOUNDS.length : bucket]++;
    this.#seconds += seconds;
  }

  /** All metrics as text. */
  text(samples: readonly Sample[]): string {
    const requests: Sample = {
      name: "hotset_requests_total",
      type: "counter",
      help: "Requests by path and status.",
      values: [...this.#requests.values()].map(({ labels, count }) => [labels, count]),
    };
    return [...this.#histogram(), ...[requests, ...samples].flatMap(linesOf)].join("\n") + "\n";
  }

  #histogram(): string[] {
    const name = "hotset_score_seconds";
    let count = 0;
    const buckets = [...this.#within].map((value, i) =>
      line(`${name}_bucket`, { le: i < BOUNDS.length ? BOUNDS[i] : "+Inf" }, count += value)
    );
    return [
      ...head(name, "histogram", "Time of requests that were scored, in seconds."),
      ...buckets,
      line(`${name}_sum`, {}, this.#seconds),
      line(`${name}_count`, {}, count),
    ];
  }
}

function linesOf({ name, type, help, values }: Sample): string[] {
  return [...head(name, type, help), ...values.map(([labels, value]) => line(name, labels, value))];
}

function head(name: string, type: string, help: string): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
}

function line(name: string, labels: Labels, value: number): string {
  const inner = Object.entries(labels).map(([key, label]) => `${key}="${escaped(String(label))}"`).join(",");
  return `${name}${inner === "" ? "" : `{${inner}}`} ${value}`;
}

function escaped(label: string): string {
  return label.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}
