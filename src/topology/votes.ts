/**
 * Whom the members of a replica set follow, and what that allows: pure functions over what members have said.
 *
 *   a member's word: a primary is for itself, a replica for whom it follows ──► a majority of all members, unfenced, asked within
 *   LEASE_MS ──► its primary may be written to until then
 *
 * A vote is changed only by somebody who has fenced the member for longer than any such leave lasts (decision 39). So no two
 * primaries can have leave at one time, whoever promotes, however often, and whatever is cut, frozen or restarted meanwhile.
 */
import { LEASE_MS } from "../stats/board.ts";
import { type MemberSaid, portIn } from "./member.ts";

/** How long a member is fenced before it is told to follow another: LEASE_MS, and what clocks and threads may differ by. */
export const FENCE_MS = 2750;
/** A member that has just started may follow another one than it did. */
export const UPTIME_MIN_MS = 4000;

/** What is known of a member, for counting. */
export interface Voter {
  readonly said: MemberSaid | null;
  /** Real ms (Clock.realMs). */
  readonly askedAtMs: number;
  /** When its process was last seen to have ended, or to be another one: real ms; -Infinity: never. */
  readonly endedAtMs: number;
  /** As the configuration calls it: "host:port". */
  readonly text: string;
  /** The address at which it answered, "ip:port"; "" = not known. */
  readonly peer: string;
}

export interface Leave {
  /** The primary, by place. */
  readonly primary: number;
  /** Real ms. */
  readonly untilMs: number;
}

/** How many are a majority of so many. */
export function majorityOf(members: number): number {
  return Math.floor(members / 2) + 1;
}

/** Whom a member follows, by place: itself if it is a primary; -1: it has not said, or nobody here, or itself as a replica. */
export function voteOf(voters: readonly Voter[], place: number): number {
  const { said } = voters[place]!;
  if (said === null) return -1;
  if (said.follows === null) return place;
  const { follows } = said;
  const named = voters.findIndex(({ text, peer }) => text === follows || peer === follows);
  // It may call it by another address than we do; a port that only one of them listens on is enough. That their data is the same is not:
  // it is that of whom they follow, and of whom that one follows too.
  const vote = named >= 0 ? named : placeOf(voters, portIn(follows));
  // One that has been told to follow itself is no primary, and never has a link.
  return vote === place ? -1 : vote;
}

/**
 * The only one that listens on this port: as they say, else as we believe, since INFO does not tell the port of TLS of a server that
 * has both; by place. -1: nobody does, or several do.
 */
export function placeOf(voters: readonly Voter[], port: number): number {
  const only = (is: (voter: Voter) => boolean) => {
    const place = voters.findIndex(is);
    return place < 0 || voters.findLastIndex(is) === place ? place : SEVERAL;
  };
  const said = only((voter) => portOf(voter) === port);
  return Math.max(-1, said !== -1 ? said : only(({ text }) => portIn(text) === port));
}

const SEVERAL = -2;

/** Where it listens, as it says or as we believe. */
function portOf({ said, text }: Voter): number {
  return said !== null && said.port > 0 ? said.port : portIn(text);
}

/** The one that this one is as well, under another address, by place; -1: none before it. One server has one vote. */
export function twinOf(voters: readonly Voter[], place: number): number {
  const runId = voters[place]!.said?.runId ?? "";
  if (runId === "") return -1;
  const first = voters.findIndex(({ said }) => said?.runId === runId);
  return first < place ? first : -1;
}

/**
 * Replicas that the primary has, and that are certainly no members, by the names that it calls them. Members that it may call by names
 * we do not know account for as many.
 */
export function strangersOf(voters: readonly Voter[], primary: number): string[] {
  const missing = new Set(voters.keys());
  missing.delete(primary);
  const unknown = (voters[primary]!.said?.info.replicas ?? []).filter((name) => {
    const named = voters.findIndex(({ text, peer }) => text === name || peer === name);
    const place = named >= 0 ? named : placeOf(voters, portIn(name));
    missing.delete(place);
    // Who only takes a copy says no port.
    return place < 0 && portIn(name) > 0;
  });
  return unknown.length > missing.size ? unknown.sort() : [];
}

/**
 * Who may be written to, and until when; null: nobody, as far as is known. What was said of a primary before its process ended counts no
 * more: what it had been told by hand (FAILOVER) the next one may not know.
 */
export function leaveOf(voters: readonly Voter[]): Leave | null {
  const asked = new Map<number, number[]>();
  voters.forEach(({ said, askedAtMs }, place) => {
    if (said === null || said.fenced || said.uptimeMs < UPTIME_MIN_MS) return;
    const vote = twinOf(voters, place) >= 0 ? -1 : voteOf(voters, place);
    if (vote >= 0) asked.set(vote, [...asked.get(vote) ?? [], askedAtMs]);
  });
  const majority = majorityOf(voters.length);
  for (const [primary, all] of asked) {
    const times = all.filter((askedAtMs) => askedAtMs >= voters[primary]!.endedAtMs);
    if (times.length < majority) continue;
    times.sort((a, b) => b - a);
    return { primary, untilMs: times[majority - 1]! + LEASE_MS };
  }
  return null;
}

/**
 * Who is to be promoted of those that can be told to: the one that has most of `history`.
 *
 * @param places of those that can
 * @param history of the primary that is gone; null: not known. If it is not, or nobody has it, a majority of all has to share one
 * @returns the place; or why it is nobody
 */
export function chosenOf(
  voters: readonly Voter[],
  places: readonly number[],
  history: string | null,
): number | string {
  const whole = places.filter((place) => isWhole(voters[place]!.said));
  let group = history === null ? [] : whole.filter((place) => isOf(voters[place]!.said!, history));
  if (group.length === 0) {
    // Somebody has changed the primary by hand, and it is of a history that we have never seen.
    group = largestGroup(voters, whole);
    if (group.length < majorityOf(voters.length)) {
      return history === null
        ? "no majority of its members has the same data"
        : "no replica that can be reached has its data";
    }
  }
  let best = -1;
  for (const place of group) {
    const said = voters[place]!.said!;
    if (said.priority === 0) continue;
    const most = best < 0 ? null : voters[best]!.said!;
    const ahead = most === null || said.info.offset > most.info.offset ||
      (said.info.offset === most.info.offset && rankOf(said) < rankOf(most));
    if (ahead) best = place;
  }
  return best >= 0 ? best : "no replica that can be reached has its data";
}

/** Of two that have as much: one that is a primary already, then by priority. */
function rankOf({ follows, priority }: MemberSaid): number {
  return follows === null ? 0 : priority;
}

/** All of its data is there. It is also while it asks its primary for all of that one's, and nothing has come. */
function isWhole(said: MemberSaid | null): boolean {
  return said !== null && !said.info.loading && !said.info.receiving && said.info.offset >= 0 &&
    said.info.history !== "";
}

/** Its data is of this history, or goes on from it. */
export function isOf({ info, before }: Pick<MemberSaid, "info" | "before">, history: string): boolean {
  return info.history === history || before === history;
}

function largestGroup(voters: readonly Voter[], places: readonly number[]): number[] {
  let largest: number[] = [];
  const said = (place: number) => voters[place]!.said!;
  for (const history of new Set(places.flatMap((place) => [said(place).info.history, said(place).before]))) {
    if (/^0*$/.test(history)) continue;
    const group = places.filter((place) => isOf(said(place), history));
    if (group.length > largest.length) largest = group;
  }
  return largest;
}
