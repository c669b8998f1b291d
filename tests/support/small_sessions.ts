/** A small dataset of sessions. */
import type { Dataset } from "../../src/dataset/dataset.ts";
import { SessionModel } from "../../src/dataset/session_model.ts";
import { type SessionOptions, writeSessions } from "../../src/dataset/sessions.ts";

/** Sessions of up to 246 users in tables of about 1,400 rows. */
export function smallSessions(out: string, options: Partial<SessionOptions> = {}): Dataset {
  const { seed = 1 } = options;
  return writeSessions(out, new SessionModel(seed, 4000), {
    seed,
    samples: { train: 500, validation: 30, test: 60 },
    validationUsers: "train",
    source: { format: "generated", shape: "taobao", seed },
    ...options,
  });
}
