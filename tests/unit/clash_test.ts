import assert from "node:assert/strict";
import { clashAtStart } from "../../src/cli/clash.ts";
import { parseFlags, type RunOptions } from "../../src/cli/flags.ts";
import { parseConfig } from "../../src/config/parse.ts";

const HOSTS: Readonly<Record<string, readonly string[]>> = { box: ["10.0.0.5"], "box.example": ["10.0.0.5"] };

async function clash(listens: readonly string[], ...flags: string[]): Promise<string | null> {
  const parsed = parseFlags(flags);
  assert.equal(parsed.command, "run");
  const { options } = parsed as { options: RunOptions };
  const text = listens.map((listen, i) => `p${i}:\n  listen: ${listen}\n  servers: [ h:1:1 ]\n`).join("");
  return await clashAtStart(parseConfig(text, "x.yml"), "x.yml", options, (name) => {
    return Promise.resolve(HOSTS[name] ?? []);
  });
}

Deno.test("clashAtStart() names two pools whose names resolve alike, with their lines", async () => {
  assert.equal(
    await clash(["box:1", "127.0.0.1:1", "Box.Example:1"]),
    'listen "Box.Example:1" of pool "p2" (x.yml:8) and listen "box:1" of pool "p0" (x.yml:2) are one address; ' +
      "each needs one of its own",
  );
  assert.match(await clash(["10.0.0.5:1", "box:1"]) ?? "", /^listen "box:1" of pool "p1" .*10\.0\.0\.5:1/);
  assert.equal(await clash(["box:1", "box.example:2", "nowhere:1", "elsewhere:1", "127.0.0.1:1"]), null);
});

Deno.test("clashAtStart() looks at the address of the statistics", async () => {
  assert.equal(
    await clash(["127.0.0.1:22222"]),
    'the statistics address 0.0.0.0:22222 (-a and -s) and listen "127.0.0.1:22222" of pool "p0" (x.yml:2) ' +
      "are one address; each needs one of its own",
  );
  assert.match(await clash(["127.0.0.1:7"], "-s", "7", "-a", "localhost") ?? "", /^the statistics .*:7/);
  assert.match(await clash(["box:7"], "-s", "7", "-a", "box.example") ?? "", /^the statistics .*:7/);
  assert.equal(await clash(["127.0.0.1:22222"], "-s", "7"), null);
  assert.equal(await clash(["127.0.0.1:22222"], "-a", "127.0.0.2"), null);
});
