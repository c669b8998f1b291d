import type { Field } from "./fields.ts";
import type { InputFile } from "./inputs.ts";
import type { Dialect } from "./text_lines.ts";

/** How a file is read. */
export interface FileLayout {
  readonly file: InputFile;
  /** SQL of a table with the fields of the file and what is parsed of them. */
  readonly source: string;
  readonly fields: Field[];
  /** Names of the fields by position, for messages. */
  readonly names: string[];
  /** How its text is divided into lines, and how many precede the first row; undefined if it has no lines. */
  readonly text: { readonly dialect: Dialect; readonly header: number } | undefined;
  /** Columns whose values are in the names of directories. */
  readonly inFolders: readonly string[];
  /** False if the file has no label. */
  readonly labelled: boolean;
}
