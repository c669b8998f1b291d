/** A small dataset of sessions. */
import type { Dataset } from "../../src/dataset/dataset.ts";
import { generateSessions, type GenerateSessionsOptions } from "../../src/dataset/generate_sessions.ts";

/** Sessions of up to 246 users in tables of about 1,400 rows. */
export async function smallSessions(out: string, options: Partial<GenerateSessionsOptions> = {}): Promise<Dataset> {
  return await generateSessions(out, {
    ...{ seed: 1, scale: 4000, validationUsers: "train" },
    samples: { train: 500, validation: 30, test: 60 },
    ...options,
  });
}
