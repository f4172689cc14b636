/** `ringmaster password`: a password on standard input, its salted slow hash on standard output. */
import { firstLine } from "../config/file.ts";
import { hashPassword, PASSWORD_BYTES_MAX } from "../config/password_hash.ts";
import { EXIT_FAILURE, EXIT_OK, type Io } from "./io.ts";

export async function hashOfInput(io: Io): Promise<number> {
  const password = firstLine(io.stdin());
  const size = new TextEncoder().encode(password ?? "").length;
  if (password !== null && size > 0 && size <= PASSWORD_BYTES_MAX) {
    io.out(`${await hashPassword(password)}\n`);
    return EXIT_OK;
  }
  const found = password === null
    ? "a first line that is not UTF-8"
    : size === 0
    ? "no password"
    : `a password of ${size} bytes`;
  io.err(
    `ringmaster password: found ${found} on standard input, expected a line of at most ${PASSWORD_BYTES_MAX} bytes\n`,
  );
  return EXIT_FAILURE;
}
