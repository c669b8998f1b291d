/** The commands of examples/service, and of the shell blocks in the documentation, are ones that the program accepts. */
import assert from "node:assert/strict";
import type { Command } from "commander";
import { translateArguments } from "../../cli/arguments.ts";
import { expectEffect } from "../../cli/effects.ts";
import { program } from "../../cli/main.ts";
import { isInstalled } from "../support/programs.ts";
import { TemporaryDirectory } from "../support/temporary.ts";

const ROOT = new URL("../../", import.meta.url);
const read = (name: string) => Deno.readTextFileSync(new URL(name, ROOT));
const UNIT = "examples/service/hotset.service";

/** The words of a line of a shell, up to the end of its first command. */
function wordsOf(line: string): string[] {
  const words = line.match(/(?:[^\s"']|"[^"]*"|'[^']*')+/g) ?? [];
  const end = words.findIndex((word) => /^(#|>|\||&|;|2>)/.test(word));
  return words.slice(0, end < 0 ? undefined : end).map((word) => word.replace(/["']/g, ""));
}

/** Why the program does not accept a command; undefined if it does. */
function refusal([name, ...given]: string[]): string | undefined {
  const command = program.commands.find((each) => each.name() === name);
  if (command === undefined) return name?.startsWith("-") ? undefined : `there is no command ${name}`;
  const words = translateArguments([name, ...given]).arguments.slice(1);
  const before = command as unknown as { _optionValues: object; _optionValueSources: object };
  const kept = [before._optionValues, before._optionValueSources];
  [before._optionValues, before._optionValueSources] = [{ ...kept[0] }, { ...kept[1] }];
  try {
    const { operands, unknown } = command.parseOptions(words);
    if (unknown.length > 0) return `unknown ${unknown[0]}`;
    const { registeredArguments: places } = command;
    if (!places.some(({ variadic }) => variadic) && operands.length > places.length) {
      return `${operands.length} arguments`;
    }
    const missing = places.filter(({ required }) => required).length > operands.length;
    if (missing) return "an argument is missing";
    expectEffect({ command: name, inputs: operands, given: givenTo(command), values: command.opts() }, command.options);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  } finally {
    [before._optionValues, before._optionValueSources] = kept;
  }
}

function givenTo(command: Command): Set<string> {
  return new Set(
    command.options.filter((option) => command.getOptionValueSource(option.attributeName()) === "cli")
      .map(({ long }) => long!),
  );
}

/** The commands in shell blocks of a page, and in lines of a file that begin with `prefix`. */
function commandsIn(text: string): string[] {
  const blocks = [...text.matchAll(/```sh\n([^]*?)```/g)].map(([, block]) => block.replace(/\\\n\s*/g, " "));
  return blocks.flatMap((block) => block.split("\n"))
    .flatMap((line) => /^(?:exec )?hotset (.*)$/.exec(line.trim())?.[1] ?? []);
}

Deno.test("commands that do not exist, or that have wrong options, are found", () => {
  assert.equal(refusal(wordsOf(`serve "model.hotset" --port 8080 > log`)), undefined);
  assert.match(refusal(["serv"])!, /no command/);
  assert.match(refusal(["serve", "model", "--prot", "8080"])!, /--prot/);
  assert.match(refusal(["serve", "model", "--port", "x"])!, /invalid/);
  assert.match(refusal(["train", "log.csv", "--expire", "3"])!, /without --from/);
});

for (const page of ["README.md", ...[...Deno.readDirSync(new URL("docs", ROOT))].map(({ name }) => `docs/${name}`)]) {
  if (!page.endsWith(".md")) continue;
  const commands = commandsIn(read(page));
  if (commands.length === 0) continue;
  Deno.test(`the program accepts the ${commands.length} commands of ${page}`, () => {
    const refused = commands.flatMap((line) => {
      const reason = refusal(wordsOf(line));
      return reason === undefined ? [] : [`${line}: ${reason}`];
    });
    assert.deepEqual(refused, []);
  });
}

Deno.test("the commands of the service and of the container exist, and signals reach Deno", () => {
  const unit = read(UNIT);
  const [, started] = /^ExecStart=\/usr\/local\/bin\/hotset (.*)$/m.exec(unit)!;
  assert.equal(refusal(wordsOf(started)), undefined);
  const [, port] = /--port (\d+)/.exec(started)!;
  assert.match(unit, new RegExp(`^ExecReload=/usr/bin/curl .* -X POST http://127.0.0.1:${port}/reload$`, "m"));

  const image = read("examples/service/Dockerfile");
  const entry = JSON.parse(/^ENTRYPOINT (\[.*\])$/m.exec(image)![1]);
  assert.deepEqual(entry, ["deno", "run", "-A", "/app/cli.ts"], "without a shell, which would keep signals");
  assert.equal(/^FROM denoland\/deno:(.*)$/m.exec(image)![1], /deno@([\d.]+) /.exec(read("README.md"))![1]);
  const runs = [...image.matchAll(/^# +docker run .* hotset (.*)$/gm)].map(([, line]) => line);
  assert.equal(runs.length, 2);
  for (const line of runs) assert.equal(refusal(wordsOf(line)), undefined, line);
  assert.ok(image.lastIndexOf("\nUSER deno\n") > image.lastIndexOf("\nRUN "), "a user without rights runs it");
});

const skipped = isInstalled("systemd-analyze") ? "" : " (skipped: systemd-analyze is not installed)";
Deno.test(`systemd accepts the unit${skipped}`, { ignore: skipped !== "" }, async () => {
  using directory = new TemporaryDirectory();
  // The programs of the unit are not installed here.
  const unit = read(UNIT).replaceAll(/\/usr\/(local\/)?bin\/(hotset|curl)/g, "/bin/true");
  const path = directory.join("hotset.service");
  for (const [content, accepted] of [[unit, true], [unit.replace("Restart=", "Restrat="), false]] as const) {
    Deno.writeTextFileSync(path, content);
    const { code, stderr } = await new Deno.Command("systemd-analyze", { args: ["verify", path] }).output();
    const said = new TextDecoder().decode(stderr).split("\n").filter((line) => line.includes(path));
    assert.deepEqual([code === 0 && said.length === 0], [accepted], said.join("\n"));
  }
});
