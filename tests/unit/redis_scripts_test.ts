/** What is remembered for servers that return to the ring: the latest, bounded by number and bytes, until it is flushed. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { resolve } from "../../src/protocol/redis/commands.ts";
import type { Pool } from "../../src/proxy/pool.ts";
import { Scripts } from "../../src/redis/scripts.ts";
import { textOf } from "../lib/bytes.ts";
import { thorough } from "../lib/runs.ts";
import { scanned } from "../lib/scanned.ts";

/** @param others is told what the other workers should know */
function emptyScripts(others: (words: readonly string[]) => void = () => {}): Scripts {
  return new Scripts({ servers: [], tellOthers: others } as unknown as Pool);
}

function note(scripts: Scripts, ...words: string[]): void {
  const { bytes, args } = scanned(words);
  scripts.note(resolve(bytes, args)!, bytes, args, false);
}

function texts(of: { all(): readonly Uint8Array[] }): string[] {
  return of.all().map((text) => textOf(text));
}

Deno.test("Scripts keeps each text once, the latest last", () => {
  const scripts = emptyScripts();
  for (const text of ["a", "b", "a", "a", "c", "b"]) note(scripts, "SCRIPT", "LOAD", text);
  deepStrictEqual(texts(scripts.loaded), ["a", "c", "b"]);
  strictEqual(scripts.scriptChanges, 3);
});

Deno.test("Scripts: texts of EVAL, however many, leave those of SCRIPT LOAD alone, and the ones in use stay", () => {
  const scripts = emptyScripts();
  note(scripts, "script", "load", "return 'loaded'");
  for (let i = 0; i < 5000; i++) {
    note(scripts, "EVAL", `return ${i}`, "0");
    note(scripts, "eval_ro", "return 'often'", "0");
  }
  deepStrictEqual(texts(scripts.loaded), ["return 'loaded'"]);
  strictEqual(scripts.evaluated.size, 500);
  deepStrictEqual(texts(scripts.evaluated).slice(-2), ["return 4999", "return 'often'"]);
});

thorough("Scripts holds a bounded number of bytes", () => {
  const scripts = emptyScripts();
  for (let i = 0; i < 200; i++) {
    const text = `return ${i}`.padEnd(20_000, "-");
    note(scripts, "EVAL", text, "0");
    note(scripts, "SCRIPT", "LOAD", text);
    note(scripts, "FUNCTION", "LOAD", "REPLACE", `#!lua name=l${i}\n${text}`);
  }
  note(scripts, "SCRIPT", "LOAD", "x".repeat(2_000_000));
  ok(scripts.bytes <= 2.5 * 1024 * 1024 && scripts.bytes > 2.3 * 1024 * 1024, `${scripts.bytes} bytes`);
});

Deno.test("Scripts forgets what is flushed or deleted, and nothing for a request that is an error", () => {
  const scripts = emptyScripts();
  note(scripts, "SCRIPT", "LOAD", "a");
  note(scripts, "EVAL", "b", "0");
  for (const name of ["one", "two"]) note(scripts, "FUNCTION", "LOAD", `#!lua name=${name}\n-- ${name}`);
  note(scripts, "SCRIPT", "FLUSH", "NOW");
  strictEqual(scripts.loaded.size + scripts.evaluated.size, 2);
  note(scripts, "SCRIPT", "FLUSH", "async");
  strictEqual(scripts.loaded.size + scripts.evaluated.size, 0);
  note(scripts, "FUNCTION", "DELETE", "one");
  deepStrictEqual(texts(scripts.libraries), ["#!lua name=two\n-- two"]);
  note(scripts, "FUNCTION", "FLUSH");
  strictEqual(scripts.bytes, 0);
  // What has been forgotten can be loaded again.
  note(scripts, "SCRIPT", "LOAD", "a");
  note(scripts, "SCRIPT", "FLUSH");
  note(scripts, "SCRIPT", "LOAD", "a");
  deepStrictEqual(texts(scripts.loaded), ["a"]);
});

Deno.test("Scripts tells other workers what every server gets, once, and they keep the same", () => {
  let told = 0;
  const other = emptyScripts(() => told++);
  const words: string[] = [];
  const scripts = emptyScripts((request) => {
    words.push(request.slice(0, 2).join(" "));
    other.knows(request);
  });
  note(scripts, "SCRIPT", "LOAD", "a");
  note(scripts, "script", "load", "a");
  note(scripts, "EVAL", "b", "0");
  note(scripts, "FUNCTION", "LOAD", "REPLACE", "#!lua name=one\n\xff");
  deepStrictEqual(texts(other.loaded), ["a"]);
  deepStrictEqual(texts(other.libraries), ["#!lua name=one\n\xff"]);
  strictEqual(other.evaluated.size, 0);
  note(scripts, "FUNCTION", "DELETE", "one");
  note(scripts, "SCRIPT", "FLUSH");
  strictEqual(other.bytes, 0);
  deepStrictEqual(words, ["SCRIPT LOAD", "FUNCTION LOAD", "FUNCTION DELETE", "SCRIPT FLUSH"]);
  strictEqual(told, 0);
});
