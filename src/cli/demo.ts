import type { Runtime } from "../runtime/runtime.ts";
import { EXIT_FAILURE, type Io } from "./io.ts";
export function demo(_options: { json: boolean }, _runtime: Runtime, io: Io): Promise<number> {
  io.err("not yet\n");
  return Promise.resolve(EXIT_FAILURE);
}
