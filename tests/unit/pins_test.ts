/** What keeps the engine's pages of requests: how many pins there are, and that they go. */
import { strictEqual } from "node:assert/strict";
import { pin, PINS, SPACING, unpin } from "../../src/proxy/pins.ts";

Deno.test("pins: one of SPACING requests, however they come, and a bounded number", () => {
  unpin();
  for (let i = 0; i < SPACING - 1; i++) pin(1);
  strictEqual(unpin(), 0);
  for (let i = 0; i < 10 * SPACING; i++) pin(1);
  strictEqual(unpin(), 10);
  for (let i = 0; i < 10; i++) pin(SPACING);
  strictEqual(unpin(), 10);
  for (let i = 0; i < 3 * PINS; i++) pin(SPACING);
  strictEqual(unpin(), PINS);
});

Deno.test("pins: after a lull there are none, and a load has them again", () => {
  unpin();
  pin(SPACING);
  strictEqual(unpin(), 1);
  strictEqual(unpin(), 0);
  pin(SPACING);
  strictEqual(unpin(), 1);
});
