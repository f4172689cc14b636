/**
 * The file of a unix listening socket: what may stand in its place, its mode, and its removal.
 *
 * A process that was killed leaves its file behind, and bind(2) then fails with EADDRINUSE for ever. twemproxy
 * unlinks whatever is there. We unlink only a socket that nobody listens on: a typing error in `listen` must not
 * delete a file, and a second proxy must not steal the path of a running one.
 */
import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import { reasonOf } from "../bytes/os_error.ts";
import type { Net, NetError } from "../net/net.ts";
import { SocketError } from "./errors.ts";

/** sun_path has 108 bytes, the last of them 0. Bun and Deno would cut or misreport a longer one. */
const PATH_BYTES_MAX = 107;

/** Makes room for a socket at `path`. Rejects with EADDRINUSE if something other than a dead socket is there. */
export async function clearPath(net: Net, path: string): Promise<void> {
  const sizeBytes = new TextEncoder().encode(path).length;
  if (sizeBytes > PATH_BYTES_MAX) {
    throw new SocketError(
      "ENAMETOOLONG",
      `listen ${path}: path of ${sizeBytes} bytes, the longest possible is ${PATH_BYTES_MAX}`,
    );
  }
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new SocketError(
      "EADDRINUSE",
      `listen ${path}: a file that is not a socket is there; remove it or choose another path`,
    );
  }
  const error = await probe(net, path);
  if (error?.code === "ENOENT") return;
  if (error?.code !== "ECONNREFUSED") {
    throw new SocketError(
      "EADDRINUSE",
      `listen ${path}: Address already in use (${error?.message ?? "somebody answers there"})`,
    );
  }
  try {
    unlinkSync(path);
  } catch (error) {
    throw new SocketError(
      (error as { code?: string }).code ?? "",
      `listen ${path}: a socket that nobody listens on is there, and cannot be removed: ${reasonOf(error)}`,
    );
  }
}

/** Sets the mode if one is given, and returns what removes the file again, unless it is another's by then. */
export function claimPath(path: string, mode: number | undefined): () => void {
  if (mode !== undefined) chmodSync(path, mode);
  const { ino } = lstatSync(path);
  return () => {
    try {
      if (lstatSync(path, { throwIfNoEntry: false })?.ino === ino) unlinkSync(path);
    } catch {
      // The folder is another's by now, or read-only: a dead socket stays, which whoever listens there next removes, or tells of.
    }
  };
}

function probe(net: Net, path: string): Promise<NetError | null> {
  return new Promise((resolve) => {
    net.connect({ path }, {
      open: (socket) => socket.destroy(),
      data: () => {},
      eof: () => {},
      drain: () => {},
      close: (_socket, error) => resolve(error),
    }, undefined);
  });
}
