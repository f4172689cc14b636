/**
 * Runs redis_cases.ts against redis-server itself, nutcracker 0.5.0, and Ringmaster on Deno, on Bun and compiled, and
 * prints one table: `=` as written, `≠` differs as noted, `-` not run there.
 *
 * A case without a note has to come out alike everywhere, so a difference from nutcracker is a bug or has its reason
 * in the table of cases.
 */
import { ok, strictEqual } from "node:assert/strict";
import { latin1, request, show } from "../lib/bytes.ts";
import { RawClient, type Target as Address } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { parseReply } from "../lib/resp.ts";
import { poolYml, type Server, type Subject } from "../lib/servers.ts";
import { type Case, CLOSED, type Differs, type Expected, type Target, TARGETS } from "./case.ts";
import { FakeServer } from "./fake_server.ts";
import { type Version, versionOf } from "../lib/versions.ts";
import { newerAnswer } from "./newer_answers.ts";
import { REDIS_CASES } from "./redis_cases.ts";

/** Keys a and c on the first server, b and d on the second: see redis_cases.ts. */
function yml(first: string, second: string): string {
  return poolYml({
    alpha: {
      hash: "fnv1a_32",
      distribution: "modula",
      hash_tag: '"{}"',
      servers: [`${first}:1 s0`, `${second}:1 s1`],
    },
  });
}

interface Outcome {
  /** What the client received, with CLOSED at its end if the connection ended. */
  text: string;
}

/** How many replies are to come: as many as are written in an exact text. */
function repliesIn(expected: Expected, replies: number): number {
  if (typeof expected !== "string") return replies;
  const bytes = latin1(expected);
  let count = 0;
  for (let at = 0; at < bytes.length; count++) at = parseReply(bytes, at, bytes.length)!.end;
  return count;
}

function endsClosed(expected: Expected): boolean {
  return (typeof expected === "string" ? expected : expected.source).replace(/\$$/, "").endsWith(CLOSED);
}

async function perform(address: Address, each: Case, expected: Expected): Promise<Outcome> {
  await using client = await RawClient.connect(address);
  client.patienceMs = 5000;
  await client.send(each.send);
  if (each.halfClose) await client.closeWrite();
  if (endsClosed(expected)) return { text: await client.readToEnd() + CLOSED };
  let text = "";
  try {
    for (let i = repliesIn(expected, each.replies ?? 1); i > 0; i--) text += (await client.readReply()).text;
    // Nothing more has come, and the connection is alive.
    await client.send("*1\r\n$4\r\nPING\r\n");
    const pong = (await client.readReply()).text;
    if (pong !== "+PONG\r\n") text += pong;
  } catch (error) {
    return { text: `${text}${client.unread}<${(error as Error).message}>` };
  }
  return { text };
}

function check(actual: string, expected: Expected, what: string): void {
  if (typeof expected === "string") strictEqual(actual, expected, `${what}: ${show(latin1(actual), 1000)}`);
  else ok(expected.test(actual), `${what}: ${show(latin1(actual), 1000)} does not match ${expected}`);
}

const table = new Map<string, Partial<Record<Target, string>>>();

function note(name: string, target: Target, mark: string): void {
  if (!table.has(name)) table.set(name, {});
  table.get(name)![target] = mark;
}

function differsOf(each: Case, target: Target): Differs | undefined {
  return target === "direct" || target === "nutcracker" ? each.differs?.[target] : undefined;
}

/** One case on one target; `servers` are the scripted ones if it has any. */
async function runCase(
  each: Case,
  target: Target,
  address: Address,
  servers: readonly FakeServer[],
  version: Version,
): Promise<void> {
  const differs = differsOf(each, target);
  const expected = newerAnswer(version, each.name, target) ?? differs?.expect ?? each.expect;
  note(each.name, target, "FAILS");
  each.reply?.forEach((replies, s) => {
    const left = [...replies];
    const server = servers[s]!;
    server.received = "";
    server.answer = () => left.shift() ?? "-ERR the script of the fake server is at its end\r\n";
  });
  const { text } = await perform(address, each, expected);
  check(text, expected, "client receives");
  if (each.receive !== undefined) {
    const receive = differs === undefined
      ? each.receive
      : "receive" in differs
      ? differs.receive
      : each.receive;
    receive?.forEach((bytes, s) => strictEqual(servers[s]!.received, bytes, `server ${s} receives`));
  }
  note(each.name, target, differs === undefined ? "=" : "≠");
}

/**
 * What an earlier case left on its way to the servers has arrived: where the proxy closes a client early, nobody waits for
 * that, and connections to servers keep the order.
 */
async function settle(address: Address, servers: readonly FakeServer[]): Promise<void> {
  for (const server of servers) server.answer = () => "+here\r\n";
  await using client = await RawClient.connect(address);
  await client.send(request("GET", "a"));
  await client.send(request("GET", "b"));
  for (let i = 0; i < 2; i++) await client.readReply();
}

const REAL = REDIS_CASES.filter((each) => each.reply === undefined);
const SCRIPTED = REDIS_CASES.filter((each) => each.reply !== undefined);

async function empty(servers: readonly Server[]): Promise<void> {
  for (const server of servers) {
    await using client = await RawClient.connect(server.target);
    await client.pipeline(["FLUSHALL"], ["SCRIPT", "FLUSH"], ["FUNCTION", "FLUSH"]);
  }
}

for (const target of TARGETS) {
  Deno.test(`redis conformance: ${target}`, async (t) => {
    await using f = new Fixture();
    const servers = [await f.redis(), await f.redis()];
    const version = await versionOf(await f.client(servers[0]!));
    const fakes = [
      f.add(FakeServer.start(() => null)),
      f.add(FakeServer.start(() => null)),
    ];
    const steps = async (cases: readonly Case[], address: Address, before: () => Promise<void>) => {
      for (const each of cases) {
        const differs = differsOf(each, target);
        if (differs !== undefined && differs.expect === undefined && differs.receive === undefined) {
          note(each.name, target, "-");
          continue;
        }
        await t.step(each.name, async () => {
          await before();
          await runCase(each, target, address, fakes, version);
        });
      }
    };
    if (target === "direct") {
      await steps(REAL, servers[0]!.target, () => empty(servers));
      for (const each of SCRIPTED) note(each.name, target, "-");
      return;
    }
    const subject: Subject = target;
    const real = await f.proxy(subject, yml(servers[0]!.address, servers[1]!.address));
    await steps(REAL, real.target, () => empty(servers));
    const scripted = await f.proxy(subject, yml(fakes[0]!.address, fakes[1]!.address));
    await steps(SCRIPTED, scripted.target, async () => {
      // nutcracker gives connections up in some cases; the next case starts when that is over.
      await poll(() => fakes.every((fake) => fake.connections.size <= 1), "old connections to be gone");
      await settle(scripted.target, fakes);
    });
  });
}

Deno.test("redis conformance: the table", () => {
  const width = Math.max(...[...table.keys()].map((name) => name.length));
  const lines = [`${"".padEnd(width)}  ${TARGETS.join("  ")}`];
  for (const [name, marks] of table) {
    lines.push(
      `${name.padEnd(width)}  ${
        TARGETS.map((target) => (marks[target] ?? "").padEnd(target.length)).join("  ")
      }`,
    );
  }
  const reasons = REDIS_CASES.flatMap((each) =>
    Object.entries(each.differs ?? {}).map(([target, differs]) => [target, differs.why, each.name] as const)
  );
  lines.push("", "≠ and why:");
  for (const key of new Set(reasons.map(([target, why]) => `${target}: ${why}`))) {
    const count = reasons.filter(([target, why]) => `${target}: ${why}` === key).length;
    lines.push(`  ${key} (${count})`);
  }
  console.log(lines.join("\n"));
});
