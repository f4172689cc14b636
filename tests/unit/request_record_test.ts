/** The record of a request: one is made for each, so its size is what a request leaves behind for the collector. */
import { ok } from "node:assert/strict";
import { Request } from "../../src/proxy/request.ts";

Deno.test("a Request has no more fields than fit into 160 bytes on Bun", () => {
  const fields = Object.keys(new Request(null));
  ok(fields.length <= 18, `${fields.length} fields: ${fields}`);
});
