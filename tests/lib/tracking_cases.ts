/**
 * CLIENT TRACKING, request after request of one client, with what redis-server 7.0.15 says to each. The unit test holds our
 * parser to it, tests/real/redis_commands_test.ts holds it to a redis-server.
 */
import { errorReply } from "../../src/protocol/redis/errors.ts";
import {
  mergeTracking,
  parseTracking,
  trackingConflict,
  type TrackingState,
} from "../../src/protocol/redis/tracking_options.ts";
import { textOf } from "./bytes.ts";
import { scanned } from "./scanned.ts";

/** Stands for the id of another client that is there. */
export const OTHER = "OTHER";

/** The words after CLIENT TRACKING, and the reply without its end of line. */
type Step = readonly [words: string, reply: string];

export interface TrackingCase {
  readonly name: string;
  readonly steps: readonly Step[];
}

const SYNTAX = "-ERR syntax error";
const INTEGER = "-ERR value is not an integer or out of range";
const NOBODY = "-ERR The client ID you want redirect to does not exist";
const PREFIX = "-ERR PREFIX option requires BCAST mode to be enabled";
const BOTH = "-ERR You can't specify both OPTIN mode and OPTOUT mode";
const NOT_BCAST = "-ERR OPTIN and OPTOUT are not compatible with BCAST";
const again = (what: string) =>
  `-ERR You can't switch ${what} before disabling tracking for this client, and then re-enabling it with a ` +
  "different mode.";
const SWITCH_BCAST = again("BCAST mode on/off");
const SWITCH_OPT = again("OPTIN/OPTOUT mode");
const overlaps = (prefix: string, what: string, other: string) =>
  `-ERR Prefix '${prefix}' overlaps with ${what} prefix '${other}'. Prefixes for a single client must not overlap.`;

export const TRACKING_CASES: readonly TrackingCase[] = [
  { name: "each option alone", steps: [["ON", "+OK"], ["OFF", "+OK"], ["ON", "+OK"]] },
  { name: "BCAST", steps: [["ON BCAST", "+OK"]] },
  { name: "OPTIN", steps: [["ON OPTIN", "+OK"]] },
  { name: "OPTOUT", steps: [["ON OPTOUT", "+OK"]] },
  { name: "NOLOOP", steps: [["ON NOLOOP", "+OK"]] },
  { name: "REDIRECT", steps: [[`ON REDIRECT ${OTHER}`, "+OK"]] },
  { name: "PREFIX", steps: [["ON BCAST PREFIX a PREFIX b", "+OK"]] },
  {
    name: "all that go together, in any case and order",
    steps: [[`on noloop prefix a bcast REDIRECT ${OTHER} Prefix b`, "+OK"]],
  },
  { name: "an option said twice", steps: [["ON BCAST BCAST NOLOOP NOLOOP", "+OK"]] },
  { name: "OFF where it is off", steps: [["OFF", "+OK"]] },
  { name: "OFF looks at no option but reads them", steps: [["OFF OPTIN OPTOUT PREFIX a", "+OK"]] },
  { name: "OFF with an unknown option", steps: [["OFF X", SYNTAX]] },
  { name: "OFF with nobody to redirect to", steps: [["OFF REDIRECT 999999", NOBODY]] },

  { name: "neither ON nor OFF", steps: [["YES", SYNTAX]] },
  { name: "an unknown option", steps: [["ON X", SYNTAX]] },
  { name: "an unknown option behind others", steps: [["ON BCAST X", SYNTAX]] },
  { name: "errors of options come before that of the mode", steps: [["YES REDIRECT x", INTEGER]] },
  {
    name: "the first wrong option is told",
    steps: [["ON REDIRECT x Y", INTEGER], ["ON Y REDIRECT x", SYNTAX]],
  },

  { name: "REDIRECT without an id", steps: [["ON REDIRECT", SYNTAX]] },
  { name: "REDIRECT to no number", steps: [["ON REDIRECT x", INTEGER]] },
  { name: "REDIRECT to a number with a sign", steps: [["ON REDIRECT +1", INTEGER]] },
  { name: "REDIRECT to a number with a zero in front", steps: [["ON REDIRECT 01", INTEGER]] },
  { name: "REDIRECT to a fraction", steps: [["ON REDIRECT 1.5", INTEGER]] },
  { name: "REDIRECT to nobody", steps: [["ON REDIRECT 999999", NOBODY]] },
  { name: "REDIRECT to 0", steps: [["ON REDIRECT 0", NOBODY]] },
  { name: "REDIRECT below 0", steps: [["ON REDIRECT -1", NOBODY]] },
  { name: "REDIRECT to the largest number", steps: [["ON REDIRECT 9223372036854775807", NOBODY]] },
  { name: "REDIRECT to a larger one", steps: [["ON REDIRECT 9223372036854775808", INTEGER]] },
  {
    name: "REDIRECT twice",
    steps: [[
      `ON REDIRECT ${OTHER} REDIRECT ${OTHER}`,
      "-ERR A client can only redirect to a single other client",
    ]],
  },

  { name: "PREFIX without one", steps: [["ON BCAST PREFIX", SYNTAX]] },
  { name: "PREFIX without BCAST", steps: [["ON PREFIX a", PREFIX]] },
  { name: "PREFIX without BCAST, and more wrong", steps: [["ON PREFIX a OPTIN OPTOUT", PREFIX]] },
  { name: "BCAST and OPTIN", steps: [["ON BCAST OPTIN", NOT_BCAST]] },
  { name: "BCAST and OPTOUT", steps: [["ON BCAST OPTOUT", NOT_BCAST]] },
  { name: "BCAST, OPTIN and OPTOUT", steps: [["ON BCAST OPTIN OPTOUT", NOT_BCAST]] },
  { name: "OPTIN and OPTOUT", steps: [["ON OPTIN OPTOUT", BOTH]] },

  {
    name: "a prefix that begins another",
    steps: [["ON BCAST PREFIX a PREFIX ab", overlaps("a", "another provided", "ab")]],
  },
  {
    name: "a prefix that another begins",
    steps: [["ON BCAST PREFIX ab PREFIX a", overlaps("ab", "another provided", "a")]],
  },
  { name: "a prefix twice", steps: [["ON BCAST PREFIX a PREFIX a", overlaps("a", "another provided", "a")]] },
  {
    name: "the first two that overlap are told",
    steps: [["ON BCAST PREFIX x PREFIX a PREFIX ab PREFIX xy", overlaps("x", "another provided", "xy")]],
  },
  {
    name: "a prefix that overlaps with one from before",
    steps: [
      ["ON BCAST PREFIX a", "+OK"],
      ["ON BCAST PREFIX ab", overlaps("ab", "an existing", "a")],
      ["ON BCAST PREFIX a", overlaps("a", "an existing", "a")],
      ["ON BCAST PREFIX b", "+OK"],
      ["ON BCAST PREFIX c PREFIX ba", overlaps("ba", "an existing", "b")],
    ],
  },
  {
    name: "prefixes behind BCAST for all keys",
    steps: [["ON BCAST", "+OK"], ["ON BCAST PREFIX a", overlaps("a", "an existing", "")]],
  },
  { name: "BCAST for all keys behind prefixes", steps: [["ON BCAST PREFIX a", "+OK"], ["ON BCAST", "+OK"]] },
  { name: "BCAST for all keys twice", steps: [["ON BCAST", "+OK"], ["ON BCAST NOLOOP", "+OK"]] },

  { name: "BCAST where it was not", steps: [["ON", "+OK"], ["ON BCAST", SWITCH_BCAST]] },
  { name: "no BCAST where it was", steps: [["ON BCAST", "+OK"], ["ON", SWITCH_BCAST]] },
  { name: "no BCAST, and more wrong", steps: [["ON BCAST", "+OK"], ["ON OPTIN OPTOUT", SWITCH_BCAST]] },
  { name: "BCAST after OFF", steps: [["ON", "+OK"], ["OFF", "+OK"], ["ON BCAST", "+OK"]] },
  { name: "OPTIN where OPTOUT was", steps: [["ON OPTOUT", "+OK"], ["ON OPTIN", SWITCH_OPT]] },
  { name: "OPTOUT where OPTIN was", steps: [["ON OPTIN", "+OK"], ["ON OPTOUT", SWITCH_OPT]] },
  { name: "both where one was", steps: [["ON OPTIN", "+OK"], ["ON OPTIN OPTOUT", BOTH]] },
  { name: "OPTIN where neither was", steps: [["ON", "+OK"], ["ON OPTIN", "+OK"]] },
  { name: "neither where OPTIN was", steps: [["ON OPTIN", "+OK"], ["ON", "+OK"], ["ON OPTOUT", "+OK"]] },
  { name: "what is not said again is gone", steps: [[`ON NOLOOP REDIRECT ${OTHER}`, "+OK"], ["ON", "+OK"]] },
  {
    name: "a refused request changes nothing",
    steps: [["ON OPTIN NOLOOP", "+OK"], [`ON BCAST REDIRECT ${OTHER}`, SWITCH_BCAST]],
  },
];

/** What the proxy keeps of a client, without the proxy. */
export class OwnTracking {
  state: TrackingState | null = null;

  constructor(private readonly other: number) {}

  /** @param words after CLIENT TRACKING; returns the reply */
  tracking(words: readonly string[]): string {
    const { bytes, args } = scanned(["CLIENT", "TRACKING", ...words]);
    const refuses = (id: number) =>
      id === this.other ? null : errorReply("ERR The client ID you want redirect to does not exist");
    const options = parseTracking(bytes, args, refuses);
    if (options instanceof Uint8Array) return textOf(options);
    const present = this.state?.options ?? null;
    if (!options.on) {
      this.state = null;
      return "+OK\r\n";
    }
    const conflict = trackingConflict(options, present);
    if (conflict !== null) return textOf(conflict);
    const merged = present === null ? options : mergeTracking(present, options);
    this.state = { options: merged, cachingSaid: false, broken: false };
    return "+OK\r\n";
  }
}
