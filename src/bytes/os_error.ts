/** What the system says of a file, for people: libuv's "ENOSPC: no space left on device, write" is made for programs. */

/** Without the code, the call and the path: "no space left on device". Deno has "No space left on device (os error 28)" of some. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const reason = text.replace(/^E[A-Z0-9]+: /, "").replace(/, [a-z]+( '.*)?$/s, "").replace(
    / \(os error \d+\)$/,
    "",
  );
  return reason.slice(0, 1).toLowerCase() + reason.slice(1);
}

/** Why a file that was to be read could not be. */
export function notRead(path: string, error: unknown): string {
  return `found ${READ[codeOf(error)] ?? reasonOf(error)} at '${path}', expected a file that can be read`;
}

/** Why a file that was to be written could not be. */
export function notWritten(path: string, error: unknown): string {
  return `found ${WRITE[codeOf(error)] ?? reasonOf(error)} at '${path}', expected a file that can be written`;
}

const READ: Readonly<Record<string, string>> = {
  ENOENT: "no file",
  ENOTDIR: "no file",
  EACCES: "no permission to read",
  EISDIR: "a directory",
};

const WRITE: Readonly<Record<string, string>> = {
  // Else it would have been made.
  ENOENT: "no folder for it",
  ENOTDIR: "no folder for it",
  EACCES: "no permission to write",
  EISDIR: "a directory",
  ENOSPC: "a full disk",
  EROFS: "a read-only file system",
};

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? "";
}
