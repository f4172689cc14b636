/** `ringmaster password`: a password on standard input, its salted slow hash on standard output. */
import { hashPassword } from "../config/password_hash.ts";
import { EXIT_FAILURE, EXIT_OK, type Io } from "./io.ts";

export async function hashOfInput(io: Io): Promise<number> {
  const password = new TextDecoder().decode(io.stdin()).split(/\r?\n/, 1)[0]!;
  if (password === "") {
    io.err("ringmaster password: no password on standard input\n");
    return EXIT_FAILURE;
  }
  io.out(`${await hashPassword(password)}\n`);
  return EXIT_OK;
}
