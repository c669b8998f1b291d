/** Folders of CUDA's libraries that the system's loader does not search: toolkits and Python wheels. */
import { isFile, isFolder } from "./library.ts";

/**
 * Absolute folders that exist, best first: the toolkit named by CUDA_HOME or CUDA_PATH, toolkits under /usr/local, and
 * `nvidia/<component>/lib` in the site-packages folders of Python.
 * `components` are the wheels' folder names, such as "cublas"; CUDA 13 wheels share the folder "cu13".
 */
export function cudaFolders(components: readonly string[]): string[] {
  const toolkits = [Deno.env.get("CUDA_HOME"), Deno.env.get("CUDA_PATH"), "/usr/local/cuda", ...numberedToolkits()];
  const folders = toolkits
    .filter((path): path is string => path !== undefined && path.startsWith("/"))
    .flatMap((path) => [`${path}/lib64`, `${path}/targets/x86_64-linux/lib`, `${path}/lib`]);
  for (const site of sitePackages()) {
    for (const component of ["cu13", ...components]) folders.push(`${site}/nvidia/${component}/lib`);
  }
  return [...new Set(folders)].filter(isFolder);
}

/**
 * Site-packages folders that can be found without running Python: those of the active environment, the user, and every
 * Python on the PATH. HOTSET_SITE_PACKAGES adds one.
 */
function sitePackages(): string[] {
  const home = Deno.env.get("HOME");
  const onPath = (Deno.env.get("PATH") ?? "").split(":").filter((folder) => isFile(`${folder}/python3`));
  const prefixes = [
    Deno.env.get("VIRTUAL_ENV"),
    Deno.env.get("CONDA_PREFIX"),
    home && `${home}/.local`,
    ...onPath.map((folder) => folder.replace(/\/bin\/?$/, "")),
    "/usr/local",
    "/usr",
  ].filter((path): path is string => path !== undefined && path.startsWith("/"));
  const sites = prefixes.flatMap((prefix) =>
    childrenOf(`${prefix}/lib`, /^python3/).flatMap((python) => [`${python}/site-packages`, `${python}/dist-packages`])
  );
  return [...new Set([Deno.env.get("HOTSET_SITE_PACKAGES") ?? "", ...sites])].filter((path) =>
    path.startsWith("/") && isFolder(path)
  );
}

/** Toolkits such as /usr/local/cuda-13.0, newest first. */
function numberedToolkits(): string[] {
  return childrenOf("/usr/local", /^cuda-\d/).sort((a, b) => b.localeCompare(a, "en", { numeric: true }));
}

function childrenOf(folder: string, pattern: RegExp): string[] {
  try {
    return [...Deno.readDirSync(folder)].filter((entry) => pattern.test(entry.name)).map((e) => `${folder}/${e.name}`);
  } catch {
    return [];
  }
}
