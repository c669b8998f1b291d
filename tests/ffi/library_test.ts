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

/** A working directory that offers OpenBLAS under all its names: a library that loads, but is another one. */
async function openBeside(env: Record<string, string>): Promise<{ result: string; mapped: string[]; folder: string }> {
  const folder = Deno.realPathSync(Deno.makeTempDirSync());
  try {
    const library =
      Deno.readTextFileSync("/proc/self/maps").match(/\/.*libm[.-][^/]*\.so.*|\/.*libc[.-][^/]*\.?so.*/)![0];
    for (const name of ["libopenblas.so.0", "libopenblas.so"]) Deno.copyFileSync(library, `${folder}/${name}`);
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", new URL("opened_libraries.ts", import.meta.url).pathname],
      cwd: folder,
      env: Object.fromEntries(Object.entries(env).map(([name, value]) => [name, value.replace("FOLDER", folder)])),
      stderr: "inherit",
    }).output();
    return { ...JSON.parse(new TextDecoder().decode(stdout)), folder };
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("a library in the working directory is not opened", { ignore: Deno.build.os !== "linux" }, async () => {
  const { result, mapped, folder } = await openBeside({ HOTSET_OPENBLAS: "", LD_LIBRARY_PATH: "" });
  assert.ok(mapped.length > 5);
  assert.deepEqual(mapped.filter((path) => path.startsWith(folder)), []);
  assert.ok(!result.includes(folder), result);
  // It would have been noticed: asked for by its path, the same file is opened and found to lack the symbols.
  const asked = await openBeside({ HOTSET_OPENBLAS: "FOLDER/libopenblas.so.0" });
  assert.match(asked.result, /libopenblas\.so\.0: .*undefined symbol/);
});

Deno.test("openLibrary() passes over a library that cannot work here, unless none can", {
  ignore: Deno.build.os !== "linux",
}, () => {
  const symbols = { ldexp: { parameters: ["f64", "i32"], result: "f64" } } as const;
  const open = (unfit: () => string | undefined) =>
    openLibrary({ name: "C", environment, names: ["libm.so.6", "libc.so.6"], folders: [], symbols, install, unfit });
  let asked = 0;
  assert.equal(open(() => asked++ === 0 ? "it is too new" : undefined).path, "libc.so.6");
  assert.equal(open(() => "it is too new").path, "libm.so.6");
});
