import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { heldFor, takeHeld } from "../../src/cli/held.ts";
import { parseConfig } from "../../src/config/parse.ts";
import { Board, DRAINED, EJECTED, FREE } from "../../src/stats/board.ts";

const pool = (name: string, port: number, servers: string) =>
  `${name}:\n  listen: 127.0.0.1:${port}\n  servers: [ ${servers} ]\n`;

function stand(text: string) {
  const config = parseConfig(text, "x.yml");
  const changed: number[] = [];
  const lines: string[] = [];
  return {
    config,
    service: {
      board: Board.make(1, config.pools.map(({ servers }) => servers.length)),
      serversChanged: (id: number) => void changed.push(id),
    },
    log: { level: 11, write: (_level: number, line: string) => void lines.push(line) },
    changed,
    lines,
  };
}

Deno.test("what an operator has taken off the ring is off it in the successor too, whose configuration may be another one", () => {
  const before = stand(pool("alpha", 1, "h:1:1 a, h:2:1 b, h:3:1 c") + pool("beta", 2, "h:1:1 a"));
  const at = (name: string) => before.config.pools.findIndex((each) => each.name === name);
  deepStrictEqual(heldFor(before.config, before.service.board), {});
  const [alpha, beta] = [at("alpha"), at("beta")].map((i) => before.service.board.pools[i]!);
  alpha!.servers[0]!.hold(DRAINED);
  alpha!.servers[1]!.hold(EJECTED);
  beta!.servers[0]!.hold(EJECTED);
  const words = heldFor(before.config, before.service.board);
  const [name, text] = Object.entries(words)[0]!;
  try {
    process.env[name] = text;
    const after = stand(pool("alpha", 1, "h:3:1 c, h:1:1 a"));
    takeHeld(after.config, after.service, after.log);
    const [here] = after.service.board.pools;
    const held = after.config.pools[0]!.servers.map((server, i) => [server.name, here!.servers[i]!.held]);
    deepStrictEqual(Object.fromEntries(held), { a: DRAINED, c: FREE });
    deepStrictEqual(after.changed, [here!.id]);
    match(
      after.lines.join("\n"),
      /^update pool 'alpha' to delete server 'a': by hand, in the process before this one$/,
    );
    strictEqual(process.env[name], undefined, "what this process starts is not told");
    for (const wrong of ["", "{", "1", "null", "[1]", "[[]]", '[["alpha","a",7],["x","a",1]]']) {
      process.env[name] = wrong;
      const other = stand(pool("alpha", 1, "h:1:1 a"));
      takeHeld(other.config, other.service, other.log);
      strictEqual(other.service.board.pools[0]!.servers[0]!.held, FREE);
    }
  } finally {
    delete process.env[name];
  }
});

Deno.test("heldFor() tells no more than a variable of the environment can have", () => {
  const { config, service } = stand(
    pool("p", 1, Array.from({ length: 1000 }, (_, i) => `h:${i + 1}:1 ${"n".repeat(100)}${i}`).join(", ")),
  );
  for (const server of service.board.pools[0]!.servers) server.hold(EJECTED);
  const [text] = Object.values(heldFor(config, service.board));
  strictEqual(text!.length < 131072 && JSON.parse(text!).length > 100, true);
});
