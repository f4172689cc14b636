/** See part.ts. */
import { part } from "./part.ts";

await part(0, 2);
