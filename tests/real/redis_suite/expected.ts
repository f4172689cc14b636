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
const TRACKING =
  "CLIENT TRACKING without RESP3, or with REDIRECT to another connection, is refused with a hint; tracking_test.ts has what works";
const LOCAL =
  "counts commands that the proxy answers itself (PING, CLIENT SETNAME) or shows a client's name and address";
const MOVES = "MIGRATE would put keys where the proxy does not look for them: refused";

/** In unit/tracking nearly every test rests on a client that redirects its invalidations to another. */
const REDIRECTED: readonly string[] = [
  "The other connection is able to get invalidations",
  "The connection gets invalidation messages about all the keys",
  "Invalidations of previous keys can be redirected after switching to RESP3",
  "Invalidations of new keys can be redirected after switching to RESP3",
  "Different clients using different protocols can track the same key",
  "Clients are able to enable tracking and redirect it",
  "Clients can enable the BCAST mode with the empty prefix",
  "Clients can enable the BCAST mode with prefixes",
  "Adding prefixes to BCAST mode works",
  "Tracking NOLOOP mode in standard mode works",
  "Tracking NOLOOP mode in BCAST mode works",
  "Tracking gets notification of expired keys",
  "Tracking gets notification of lazy expired keys",
  "RESP3 tracking redirection",
  "Invalid keys should not be tracked for scripts in NOLOOP mode",
  "RESP3 Client gets tracking-redir-broken push message after cached key changed when rediretion client is terminated",
  "Different clients can redirect to the same connection",
  "No invalidation message when using OPTIN option",
  "Invalidation message sent when using OPTIN option with CLIENT CACHING yes",
  "Invalidation message sent when using OPTOUT option",
  "No invalidation message when using OPTOUT option with CLIENT CACHING no",
  "Able to redirect to a RESP3 client",
  "BCAST with prefix collisions throw errors",
  "Tracking gets notification on tracking table key eviction",
  "Invalidation message received for flushall",
  "Invalidation message received for flushdb",
  "Test ASYNC flushall",
  "Server is able to evacuate enough keys when num of keys surpasses limit by more than defined initial effort",
  "Tracking info is correct",
  "CLIENT GETREDIR provides correct client id",
  "CLIENT TRACKINGINFO provides reasonable results when tracking on",
  "CLIENT TRACKINGINFO provides reasonable results when tracking on with options",
  "CLIENT TRACKINGINFO provides reasonable results when tracking optin",
  "CLIENT TRACKINGINFO provides reasonable results when tracking optout",
  "CLIENT TRACKINGINFO provides reasonable results when tracking bcast mode",
  "CLIENT TRACKINGINFO provides reasonable results when tracking redir broken",
  "Regression test for #11715",
  "RESP2 based basic invalidation with client reply off",
  "RESP3 based basic redirect invalidation with client reply off",
  "RESP3 based basic tracking-redir-broken with client reply off",
];

export const EXPECTED: readonly Expected[] = [
  ...REDIRECTED.map((test) => ({ unit: "unit/tracking", test, reason: TRACKING })),
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
  { unit: "unit/other", test: "RESET clears client state", reason: TRACKING },
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
