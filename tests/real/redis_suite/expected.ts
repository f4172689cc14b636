/**
 * Tests of Redis' suite that pass directly and cannot pass through a proxy, each with its reason. The runner leaves them out
 * of the run through the proxy (`--all` runs them too), since one that stops half way spoils those after it.
 */
export interface Expected {
  readonly unit: string;
  /** A test's name, or what several names have in common. */
  readonly test: string | RegExp;
  readonly reason: string;
}

const REPLICATION =
  "reads the server's replication stream with SYNC, which a pool of many servers does not have; the proxy refuses SYNC";
const ONE_CLIENT =
  "looks at, or acts on, the server's own connections; those are the proxy's, shared by many clients";
const LATE =
  "commands between MULTI and EXEC reach the server together, at EXEC: what the server alone can refuse (OOM, READONLY) shows in EXEC's reply";
const BUSY =
  "while a script runs, other clients' requests wait behind it on the shared connection instead of reading BUSY, and PING is answered by the proxy; SCRIPT KILL and FUNCTION KILL do get through";
const LIMIT =
  "the error names the proxy's own limit (max_arguments, max_request_size), or does not quote the client's bytes";
const USERS = "AUTH as a user made by ACL SETUSER: the proxy knows redis_auth's password alone";
const SECONDS =
  "INFO's tracking_clients counts the proxy's connections, of which a client that redirects has two a server";
const LOCAL =
  "counts commands that the proxy answers itself (PING, CLIENT SETNAME) or shows a client's name and address";
const MOVES = "MIGRATE would put keys where the proxy does not look for them: refused";

export const EXPECTED: readonly Expected[] = [
  { unit: "unit/tracking", test: "Tracking info is correct", reason: SECONDS },
  {
    unit: "unit/tracking",
    test: "Regression test for #11715",
    reason:
      "MULTI reaches the server at EXEC only: an invalidation that the server sends at MULTI comes then",
  },
  {
    unit: "unit/protocol",
    test: /^(Out of range multibulk|Wrong multibulk payload header|Multi bulk request not followed)/,
    reason: LIMIT,
  },
  {
    unit: "unit/type/string",
    test: /propagate as DEL command to replica|does not propagate to replica/,
    reason: REPLICATION,
  },
  { unit: "unit/type/list", test: /propagate as pop with count|key already expired$/, reason: REPLICATION },
  { unit: "unit/type/zset", test: /propagate as pop with count/, reason: REPLICATION },
  { unit: "unit/expire", test: /propagate|Lazy-expire should not be wrapped/, reason: REPLICATION },
  {
    unit: "unit/other",
    test: "RESET clears MONITOR state",
    reason: "MONITOR shows one server's traffic, the proxy refuses it",
  },
  { unit: "unit/other", test: "RESET clears authenticated state", reason: USERS },
  { unit: "unit/multi", test: /propagat|REPLICAOF|stale replica state change/, reason: REPLICATION },
  { unit: "unit/multi", test: "EXEC fails if there are errors while queueing commands #2", reason: LATE },
  { unit: "unit/multi", test: "DISCARD should not fail during OOM", reason: LATE },
  { unit: "unit/multi", test: "EXEC with only read commands should not be rejected when OOM", reason: LATE },
  { unit: "unit/multi", test: /script timeout/, reason: BUSY },
  {
    unit: "unit/slowlog",
    test: /SLOWLOG - (max entries is|logged entry sanity|can clean older|GET optional)/,
    reason: LOCAL,
  },
  { unit: "unit/slowlog", test: "SLOWLOG - Some commands can redact sensitive fields", reason: MOVES },
  { unit: "unit/scripting", test: /^Timedout|SHUTDOWN NOSAVE can kill/, reason: BUSY },
  { unit: "unit/scripting", test: /rewriting client->argv|shouldn't be propagated/, reason: REPLICATION },
  {
    unit: "unit/pause",
    test: /./,
    reason: "CLIENT PAUSE would stop all clients of a server: refused with a hint",
  },
  { unit: "unit/scripting", test: "Script ACL check", reason: USERS },
  { unit: "unit/functions", test: /function kill|script kill/, reason: BUSY },
  { unit: "unit/introspection", test: /^CLIENT (LIST$|INFO|KILL)|After CLIENT SETNAME/, reason: ONE_CLIENT },
  {
    unit: "unit/introspection",
    test: /^MONITOR/,
    reason: "MONITOR shows one server's traffic, the proxy refuses it",
  },
  {
    unit: "unit/introspection",
    test: "CONFIG sanity",
    reason: "sets every setting to what CONFIG GET says, and the port that clients see is the proxy's",
  },
  {
    unit: "unit/introspection-2",
    test: "COMMAND GETKEYSANDFLAGS",
    reason: "the proxy's table has one set of key flags a command; Redis has another for SET without GET",
  },
  {
    unit: "unit/latency-monitor",
    test: /LATENCY|latency/,
    reason: "LATENCY tells of one server: refused with a hint",
  },
];
