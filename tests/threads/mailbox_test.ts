import assert from "node:assert/strict";
import { HotsetError } from "../../src/errors.ts";
import { Mailbox } from "../../src/threads/mailbox.ts";

/** Starts a thread that runs the body with the mailbox `mail`. A thread that is starting needs this one awake. */
async function inThread(mail: Mailbox, body: string): Promise<void> {
  const text = `
    import { Mailbox } from ${JSON.stringify(import.meta.resolve("../../src/threads/mailbox.ts"))};
    import { HotsetError } from ${JSON.stringify(import.meta.resolve("../../src/errors.ts"))};
    onmessage = ({ data }) => { postMessage(0); const mail = new Mailbox(data); ${body}; close(); };`;
  const worker = new Worker(`data:text/javascript,${encodeURIComponent(text)}`, { type: "module" });
  worker.postMessage(mail.memory);
  await new Promise((resolve) => worker.onmessage = resolve);
}

Deno.test("a thread that sleeps is woken by a word, and sees what was written before it", async () => {
  const mail = new Mailbox(3);
  await inThread(mail, "mail.words[1] = 7; mail.put(0, 1); mail.wait(2, 0); mail.put(0, 2)");
  mail.wait(0, 0);
  assert.equal(mail.words[1], 7);
  assert.equal(mail.get(0), 1);
  mail.put(2, 1);
  mail.waitUnlessFailed(0, 1);
  assert.equal(mail.get(0), 2);
});

Deno.test("a sleep has an end", () => {
  const mail = new Mailbox(1);
  const begin = performance.now();
  mail.sleep(0, 0, 20);
  assert.ok(performance.now() - begin >= 19);
});

Deno.test("the first failure reaches who sleeps, with its kind and its message, cut at what there is room for", async () => {
  const mail = new Mailbox(2);
  assert.equal(mail.failure, undefined);
  await inThread(
    mail,
    `mail.fail(new HotsetError("ä".repeat(1000), { code: "no-space" })); mail.fail(new Error("later"))`,
  );
  mail.waitUnlessFailed(1, 0);
  assert.ok(mail.failed);
  assert.deepEqual(new Mailbox(mail.memory).failure, { message: "ä".repeat(512), code: "no-space" });
  mail.fail(new HotsetError("another one"));
  assert.equal(new Mailbox(mail.memory).failure?.code, "no-space");
});

Deno.test("of threads that fail at once one says why, and the others nothing", async () => {
  const mail = new Mailbox(3);
  // All stand ready, then fail together; each message is one letter again and again.
  const letters = ["a", "b", "c"];
  for (const letter of letters) {
    await inThread(
      mail,
      `Atomics.add(mail.words, 0, 1); while (mail.get(1) === 0); mail.fail(new Error("${letter}".repeat(1000)));
       Atomics.add(mail.words, 2, 1)`,
    );
  }
  while (mail.get(0) < letters.length);
  mail.put(1, 1);
  while (mail.get(2) < letters.length);
  const { message } = mail.failure!;
  assert.equal(message, message[0].repeat(1000));
});

Deno.test("why a thread fails is read once it is written, and no other thread writes over it meanwhile", () => {
  const mail = new Mailbox(1);
  const failed = new Int32Array(mail.memory, 0, 1);
  failed[0] = -1; // as a thread leaves it that is about to write its message
  mail.fail(new Error("later"));
  assert.deepEqual([mail.failed, mail.failure], [false, undefined]);
  failed[0] = 1;
  assert.equal(mail.failure?.message, "");
});
