/** See part.ts. */
import { part } from "./part.ts";

await part(1, 2);
