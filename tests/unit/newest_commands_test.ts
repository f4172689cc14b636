/** No row of the command table is stricter than the newest servers, nor finds other keys; what they said of themselves is kept. */
import assert from "node:assert/strict";
import { differences, type ServerFacts } from "../conformance/newest_commands.ts";
import { ROOT } from "../lib/repo.ts";

for (const file of ["commands_redis_8.6.3.json", "commands_valkey_9.1.2.json"]) {
  const facts = JSON.parse(Deno.readTextFileSync(`${ROOT}/tests/vectors/${file}`)) as ServerFacts;

  Deno.test(`the command table takes what ${facts.source} takes, and finds the same keys`, () => {
    assert.deepEqual(differences(facts), []);
  });

  Deno.test(`differences() sees a row that is stricter than ${facts.source}'s`, () => {
    const commands = {
      get: { arity: -2, calls: ["get key1 WITH more", "get other"] },
      zunionstore: {
        arity: -4,
        calls: ["zunionstore key1 2 key2 key3 DIFFER", "zunionstore key1 1 key2 STORE key3"],
      },
      nowhere: { arity: 1, calls: ["nowhere"] },
    };
    assert.deepEqual(
      differences({ source: "", commands }, new Map([["get other", "a test"], ["set", "a test"]])),
      [
        "get takes -2 arguments, here 2",
        "get key1 WITH more: 4 arguments are not taken",
        "zunionstore key1 1 key2 STORE key3: keys at 1,3,5, here 1,3",
        "nowhere is not in the table",
        "set is no exception any more",
      ],
    );
  });
}
