/** The log file that goes on elsewhere. */
import { deepStrictEqual, match, strictEqual, throws } from "node:assert/strict";
import { NOTICE } from "../../src/net/log.ts";
import { LogFile } from "../../src/runtime/log_file.ts";

function inFolder(test: (folder: string) => void): () => void {
  return () => {
    const folder = Deno.makeTempDirSync();
    try {
      test(folder);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  };
}

const linesOf = (path: string) => Deno.readTextFileSync(path).trimEnd().split("\n");

Deno.test(
  "adopt() writes to another file from then on, in another form",
  inFolder((folder) => {
    const log = new LogFile(`${folder}/a`);
    log.write(NOTICE, "one");
    log.adopt(`${folder}/b`, true);
    log.write(NOTICE, "two");
    log.adopt(`${folder}/b`, false);
    log.write(NOTICE, "three");
    deepStrictEqual(linesOf(`${folder}/a`).map((line) => line.split("] ")[1]), ["one"]);
    const [two, three] = linesOf(`${folder}/b`);
    strictEqual(JSON.parse(two!).text, "two");
    match(three!, /^\[.*\] three$/);
    log.adopt("stderr", false);
    strictEqual(log.toFile, false);
  }),
);

Deno.test(
  "adopt() of a path that cannot be opened changes nothing; refusal() says so before",
  inFolder((folder) => {
    const log = new LogFile(`${folder}/a`);
    match(log.refusal(`${folder}/no/such`)!, /^cannot open the log: .*no\/such/);
    strictEqual(log.refusal(`${folder}/b`), null);
    strictEqual(log.refusal("stderr"), null);
    throws(() => log.adopt(`${folder}/no/such`, true), /no\/such/);
    log.write(NOTICE, "still");
    match(linesOf(`${folder}/a`)[0]!, /^\[.*\] still$/);
    log.adopt("", false);
  }),
);
