/**
 * Cases of redis_cases.ts that come out otherwise with a newer redis-server or valkey-server than 7.0, and how: by version, case and
 * target. `ringmaster` stands for deno, bun and compiled; who is not there answers as with 7.0.
 */
import type { Version } from "../lib/versions.ts";
import { CLOSED, type Expected, type Target } from "./case.ts";

type Answers = Partial<Record<"direct" | "nutcracker" | "ringmaster", Expected>>;

function both(expected: Expected): Answers {
  return { direct: expected, ringmaster: expected };
}

/** They tell of modules that are built in. */
function hello(server: string, module: string, path: string): Answers {
  return both(
    new RegExp(
      `^\\*14\\r\\n\\$6\\r\\nserver\\r\\n\\$\\d\\r\\n${server}\\r\\n\\$7\\r\\nversion\\r\\n\\$\\d+\\r\\n[\\d.]+\\r\\n[^]*` +
        `\\$7\\r\\nmodules\\r\\n\\*1\\r\\n\\*8\\r\\n\\$4\\r\\nname\\r\\n\\$\\d\\r\\n${module}\\r\\n\\$3\\r\\nver\\r\\n:\\d+\\r\\n` +
        `\\$4\\r\\npath\\r\\n\\$\\d\\r\\n${path}\\r\\n\\$4\\r\\nargs\\r\\n\\*0\\r\\n$`,
    ),
  );
}

/** Of COMMAND DOCS get: the servers' own words, also through Ringmaster. */
const DOCS =
  /^\*2\r\n\$3\r\nget\r\n\*\d+\r\n\$7\r\nsummary\r\n\$34\r\nReturns the string value of a key\.\r\n[^]*arguments/;

const NOSCRIPT = "-NOSCRIPT No matching script.\r\n+PONG\r\n";

const NEWER: Partial<Record<Version, Readonly<Record<string, Answers>>>> = {
  "redis 8.6": {
    "HELLO 2": hello("redis", "vectorset", ""),
    "CLIENT SETINFO": { direct: "+OK\r\n+OK\r\n" },
    "COMMAND DOCS": both(DOCS),
    "the connection stays, and order holds, around an unknown command": {
      direct: "+OK\r\n-ERR unknown command 'NONSENSE'\r\n$1\r\n1\r\n",
    },
    "an empty command name": { direct: "-ERR unknown command ''\r\n" },
  },
  "valkey 9.1": {
    "HELLO 2": hello("valkey", "lua", "lua"),
    "CLIENT SETINFO": { direct: "+OK\r\n+OK\r\n" },
    // With what the client is capable of, between its flags and its database.
    "CLIENT INFO": {
      direct:
        /^\$\d+\r\nid=\d+ addr=\S+ laddr=\S+ fd=-?\d+ name= age=\d+ idle=\d+ flags=[NU] capa= db=0 [^\r]*cmd=client\|info [^\r]*\n\r\n$/,
    },
    "COMMAND DOCS": both(DOCS),
    // server_mode, not redis_mode, and its sections have other fields between.
    "INFO": {
      direct:
        /^\$\d+\r\n# Server\r\nredis_version:7\.2\.4\r\nserver_name:valkey\r\nvalkey_version:[^]*server_mode:standalone\r\n[^]*loading:0\r\n[^]*role:master\r\n[^]*# Cluster\r\ncluster_enabled:0\r\n[^]*\$0\r\n\r\n$/,
    },
    "inline with quotes": { direct: "+OK\r\n" },
    "an argument longer than its length": {
      direct: "-ERR Protocol error: invalid CRLF in request\r\n" + CLOSED,
    },
    "EVALSHA of an unknown script": { direct: NOSCRIPT, nutcracker: NOSCRIPT, ringmaster: NOSCRIPT },
  },
};

/** Undefined: as with redis-server 7.0. */
export function newerAnswer(version: Version, name: string, target: Target): Expected | undefined {
  const answers = NEWER[version]?.[name];
  return target === "direct" || target === "nutcracker" ? answers?.[target] : answers?.ringmaster;
}
