/** Servers that stand in a file of their own, which may be written while the proxy runs, in one step or in many. */
import { builtin } from "../bytes/builtin.ts";
import { FILE_SIZE_MAX } from "../config/file.ts";
import { ConfigError, parseServers } from "../config/parse.ts";
import type { Servers } from "./source.ts";

const files = builtin<typeof import("node:fs/promises")>("node:fs/promises");

/** Reads the file anew each time, and its text where it has changed. */
export function fileReader(file: string): () => Promise<Servers> {
  let text: string | null = null;
  let servers: Promise<Servers> = Promise.resolve([]);
  return async () => {
    const now = await textOf(file);
    if (now !== text) {
      text = now;
      servers = parsed(now, file);
    }
    return await servers;
  };
}

async function textOf(file: string): Promise<string> {
  try {
    const stats = await files().stat(file);
    // Reading a pipe might never end, and takes away what it has.
    if (!stats.isFile()) throw new Error("not a file");
    if (stats.size > FILE_SIZE_MAX) throw new Error(`more than ${FILE_SIZE_MAX / 1024 / 1024} MiB`);
    return new TextDecoder("utf-8", { fatal: true }).decode(await files().readFile(file));
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code === "ENOENT") throw new Error("no such file");
    throw error instanceof TypeError ? new Error("bytes that are not UTF-8") : new Error(message);
  }
}

async function parsed(text: string, file: string): Promise<Servers> {
  try {
    return await Promise.resolve(parseServers(text, file));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const [{ line, column, found, expected }] = error.problems as [ConfigError["problems"][number]];
    const place = line === 0 ? "" : `line ${line}, column ${column}: `;
    throw new Error(`${place}found ${found}, expected ${expected}`);
  }
}
