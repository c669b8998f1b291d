import assert from "node:assert/strict";
import { LibraryError, openLibrary } from "../../ffi/library.ts";

const symbols = { getpid: { parameters: [], result: "i32" } } as const satisfies Deno.ForeignLibraryInterface;
const environment = "HOTSET_TEST_LIBRARY";
const install = "apt-get install libtest";

Deno.test("openLibrary() opens a library by a loader name", { ignore: Deno.build.os !== "linux" }, () => {
  const library = openLibrary({
    name: "C",
    environment,
    names: ["libnone.so", "libc.so.6"],
    folders: [],
    symbols,
    install,
  });
  assert.equal(library.path, "libc.so.6");
  assert.equal(library.symbols.getpid(), Deno.pid);
});

Deno.test("openLibrary() lists every try, the install command and the override", () => {
  const folder = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(`${folder}/libnone.so.2`, "not a library");
    assert.throws(
      () =>
        openLibrary({
          name: "None",
          environment,
          names: ["libnone.so.2", "libnone.so.1"],
          folders: [folder, `${folder}/absent`],
          symbols,
          install,
        }),
      (error: unknown) => {
        assert.ok(error instanceof LibraryError);
        assert.equal(error.tries.length, 4);
        for (const part of ["Cannot load None", "libnone.so.1:", `${folder}/libnone.so.2:`, "absent: no such folder"]) {
          assert.ok(error.message.includes(part), `${part} in ${error.message}`);
        }
        assert.ok(error.message.includes(install) && error.message.includes(environment));
        return true;
      },
    );
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("openLibrary() passes over a library that lacks a symbol", { ignore: Deno.build.os !== "linux" }, () => {
  const absent = { no_such_function: { parameters: [], result: "void" } } as const;
  assert.throws(
    () => openLibrary({ name: "C", environment, names: ["libc.so.6"], folders: [], symbols: absent, install }),
    /libc\.so\.6: .*no_such_function/,
  );
});

Deno.test("openLibrary() follows the environment variable and refuses relative paths", () => {
  const variable = "HOTSET_TEST_LIBRARY_OVERRIDE";
  const request = { name: "C", environment: variable, names: ["libc.so.6"], folders: [], symbols, install };
  try {
    Deno.env.set(variable, "libc.so.6");
    assert.throws(() => openLibrary(request), /not an absolute path/);
    Deno.env.set(variable, "/nonexistent/libc.so.6");
    assert.throws(() => openLibrary(request), /\/nonexistent\/libc\.so\.6/);
  } finally {
    Deno.env.delete(variable);
  }
});
