/**
 * What purity_test.ts must find and must not find: each line with an impure use says so. Never run.
 * Date.now() in a comment is nothing.
 */
// deno-lint-ignore-file
export function impure(socket: { setTimeout(ms: number): void }): unknown[] {
  const text = "Deno.exit() and Date.now() in a string";
  const template = `${Date.now()} ${Math.floor(1)}`; // finds Date.now
  const pattern = /["'`] Math.random() /;
  socket.setTimeout(5);
  const own = { setTimeout: 1, fetch() {} };
  const clock = Date.now; // finds Date.now
  setTimeout(() => {}, 1); // finds setTimeout
  globalThis.setTimeout(() => {}, 1); // finds setTimeout
  const runtime = "Deno" in globalThis; // finds Deno
  const type: typeof Deno.version = Deno.version; // finds Deno, Deno
  const fixed = new Date(5);
  const now = new Date(); // finds new Date()
  const table = { fetch }; // finds fetch
  return [text, template, pattern, own, clock, runtime, type, fixed, now, table, performance.now()]; // finds performance.now
}
