/** The table of keys as people read it: docs/configuration.md's tables and conf/ringmaster.yml. */
import {
  ADMIN_TLS_KEYS,
  expectation,
  FROM_KEYS,
  type Key,
  KEYS,
  LIMITS_KEYS,
  LOG_KEYS,
  POOL_KEYS,
  PROCESS_KEYS,
  REPLICA_KEYS,
  SERVER_AUTH_KEYS,
  SERVER_KEYS,
  SERVER_TLS_KEYS,
  SNI_KEYS,
  TLS_KEYS,
  USER_KEYS,
} from "./schema.ts";

/** A Markdown table a scope: key, value, default, unit, what it does. */
export function configMarkdown(): string {
  return [
    "Keys of a pool (those marked ¹ are twemproxy's too, with its meaning and default):\n",
    markdownTable(POOL_KEYS),
    "\nKeys of the process, under the reserved top-level name `ringmaster`:\n",
    markdownTable(PROCESS_KEYS),
    "\nKeys of `ringmaster: log:`:\n",
    markdownTable(LOG_KEYS),
    "\nKeys of a server that is written as a mapping:\n",
    markdownTable(SERVER_KEYS),
    "\nKeys of a replica that is written as a mapping:\n",
    markdownTable(REPLICA_KEYS),
    "\nKeys of `servers_from:`:\n",
    markdownTable(FROM_KEYS),
    "\nKeys of `tls:`:\n",
    markdownTable(TLS_KEYS),
    "\nKeys of each certificate under `sni:`:\n",
    markdownTable(SNI_KEYS),
    "\nKeys of `server_tls:`:\n",
    markdownTable(SERVER_TLS_KEYS),
    "\nKeys of `ringmaster: admin_tls:`:\n",
    markdownTable(ADMIN_TLS_KEYS),
    "\nKeys of `per_address:`, `per_user:` and a user's `limits:`:\n",
    markdownTable(LIMITS_KEYS),
    "\nKeys of each user under `users:`:\n",
    markdownTable(USER_KEYS),
    "\nKeys of `server_auth:`:\n",
    markdownTable(SERVER_AUTH_KEYS),
  ].join("\n") + "\n";
}

function markdownTable(keys: readonly Key[]): string {
  const rows = keys.map((key) =>
    `| \`${key.name}\`${key.twemproxy ? " ¹" : ""} | ${cell(expectation(key))} | ${
      cell(key.default === null ? key.absent ?? "" : `\`${key.default}\``)
    } | ${key.unit} | ${cell(key.sentence)} |`
  );
  return ["| key | value | default | unit | what it does |", "|---|---|---|---|---|", ...rows].join("\n");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}

/** Comment lines are wrapped here. */
const WIDTH = 100;

/** conf/ringmaster.yml: every key with what it does, its unit, its default and the reason. A test holds the file to it. */
export function exampleConfig(): string {
  const lines = [
    "# Every key of Ringmaster's configuration with its default. What is commented out has no default, or cannot",
    "# stand beside the rest. `deno task docs` writes this file from src/config/schema.ts.",
    "# Times are in milliseconds; sizes in bytes, or with kb, mb, gb (of 1024).",
    "",
    "# The process. This top-level name is reserved; a pool may have it too, as long as it has a listen.",
    "ringmaster:",
  ];
  for (const key of PROCESS_KEYS) {
    lines.push(...keyLines(key, "  "));
    if (key.type === "log") {
      lines.push("  log:");
      for (const each of LOG_KEYS) lines.push(...keyLines(each, "    "));
    }
  }
  lines.push(
    "",
    "# A pool: one listening address and the servers behind it. The name is yours; statistics show it.",
    "alpha:",
  );
  for (const key of POOL_KEYS) if (key.type !== "servers") lines.push(...keyLines(key, "  "));
  const servers = POOL_KEYS.find((key) => key.type === "servers")!;
  lines.push(...keyLines(servers, "  "), "  servers:");
  for (const port of [6379, 6380, 6381]) lines.push(`    - 127.0.0.1:${port}:1`);
  const others = SERVER_KEYS.filter((each) => each.name !== "name" && each.name !== "master");
  lines.push("    # The same as a mapping, with a name and replicas:", "    # - name: shard4");
  for (const key of others) lines.push(`    #   ${key.name}: ${key.default ?? key.example}`);
  lines.push(
    "    # With failover: sentinel, one that the sentinels know:",
    "    # - name: shard5",
    "    #   master: mymaster",
  );
  return lines.join("\n") + "\n";
}

/** What values that are mappings have. */
const MAPPINGS: Partial<Record<Key["type"], readonly Key[]>> = {
  servers_from: FROM_KEYS,
  tls: TLS_KEYS,
  server_tls: SERVER_TLS_KEYS,
  limits: LIMITS_KEYS,
  server_auth: SERVER_AUTH_KEYS,
  admin_tls: ADMIN_TLS_KEYS,
};

function keyLines(key: Key, indent: string): string[] {
  const unit = key.unit === "" ? "" : ` (${key.unit})`;
  const standard = key.type === "log" || key.absent === "required"
    ? ""
    : key.type === "servers" || key.type === "servers_from"
    ? `Each pool has ${key.name} or ${key.absent}. `
    : key.default === null
    ? `Without it: ${key.absent}. `
    : `Default: ${key.default}${unit}. `;
  const comments = [
    ...wrap(key.sentence, WIDTH - indent.length),
    ...wrap(standard + key.reason, WIDTH - indent.length),
  ];
  const lines = ["", ...comments.map((line) => `${indent}# ${line}`)];
  const inner = MAPPINGS[key.type];
  if (inner !== undefined) {
    lines.push(`${indent}# ${key.name}:`);
    for (const each of inner) {
      const said = wrap(each.sentence, WIDTH - indent.length - 4).map((line) => `# ${line}`);
      said.push(`${each.name}: ${each.default ?? each.example}`);
      lines.push(...said.map((line) => `${indent}#   ${line}`));
    }
    return lines;
  }
  if (key.type === "log" || key.type === "servers") return lines;
  // The example is a Redis pool: most pools are, and the keys for Redis alone would else be errors.
  if (key.name === "redis") lines.push(`${indent}redis: true`);
  // What one begins with should be seen.
  else if (key.type === "admin") lines.push(`${indent}${key.name}: ${key.example}`);
  else if (key.default !== null) lines.push(`${indent}${key.name}: ${key.default}`);
  else lines.push(`${indent}${key.absent === "required" ? "" : "# "}${key.name}: ${key.example}`);
  return lines;
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** The names of all keys, for whoever checks that documents name them. */
export function keyNames(): string[] {
  return KEYS.map((key) => key.name);
}
