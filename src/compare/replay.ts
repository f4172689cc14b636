/**
 * Recorded requests, asked again of one target or two: what reads, and what writes only if that is wanted.
 *
 *   requests, some at a time ──► the pace ──► both ──► the same answer?   a read that differs is asked again, OLD, NEW, OLD
 */
import { latin1 } from "../bytes/ascii.ts";
import { ReplyError } from "../protocol/redis/value.ts";
import { type Answer, LinkLost } from "../topology/redis_link.ts";
import { BATCH, CannotCompare } from "./comparison.ts";
import { MemcachedPeer } from "./memcached_peer.ts";
import type { Pace } from "./pace.ts";
import type { Peer } from "./peer.ts";
import { differenceOf } from "./reading.ts";
import type { Recorded, Skipped } from "./recording.ts";
import { RedisPeer } from "./redis_peer.ts";
import { keyShown } from "./tally.ts";

/** Answers of these come in any order. */
const UNORDERED = new Set(["smembers", "hgetall", "hkeys", "hvals", "sinter", "sunion", "sdiff"]);
/** … are drawn, or a scan's: that there is one is all that can be compared. */
const DRAWN = /rand|scan$|^spop$/;
/** … are times that go by, in s or ms. */
const TIMES: Readonly<Record<string, number>> = { ttl: 2, pttl: 2000 };

/** What proxies say when a server does not answer them, ours and twemproxy. */
const UNSERVED =
  /^(?:ERR |SERVER_ERROR )?(?:Connection (?:refused|timed out|reset)|Broken pipe|Host is down|No route to host|Network is unreachable|No such file|The server |LOADING|MASTERDOWN|CLUSTERDOWN)/;

export interface ReplayTally {
  requests: number;
  asked: number;
  same: number;
  /** Answers that are not the same, and those of which one is an error. */
  different: number;
  /** Errors of both, or of the one target. */
  errors: number;
  /** … which say that there is no server to answer: nothing has been compared. */
  unserved: number;
  lost: number;
  /** Answers of OLD itself that changed while it was asked. */
  changing: number;
  readonly skipped: Record<Skipped, number>;
  readonly examples: string[];
}

/** An answer to a request, comparable. */
interface Told {
  readonly text: string;
  readonly error: boolean;
  readonly lost: boolean;
}

export class Replay {
  readonly tally: ReplayTally = {
    requests: 0,
    asked: 0,
    same: 0,
    different: 0,
    errors: 0,
    unserved: 0,
    lost: 0,
    changing: 0,
    skipped: { writes: 0, shortened: 0, others: 0 },
    examples: [],
  };
  private batch: Recorded[] = [];

  /** @param young null: there is one target @param shown differences that are shown */
  constructor(
    private readonly old: Peer,
    private readonly young: Peer | null,
    private readonly pace: Pick<Pace, "take">,
    private readonly shown: number,
  ) {}

  /** @throws CannotCompare: a target is gone; what was asked until then is in the tally */
  async take(request: Recorded): Promise<void> {
    const { tally } = this;
    tally.requests++;
    if (request.skipped !== null) tally.skipped[request.skipped]++;
    else if (this.batch.push(request) === BATCH) await this.flush();
  }

  /** @throws CannotCompare */
  async flush(): Promise<void> {
    const { tally, old, young } = this;
    const batch = this.batch.splice(0);
    if (batch.length === 0) return;
    await this.pace.take(batch.length);
    tally.asked += batch.length;
    const [a, b] = await Promise.all([ask(old, batch), young === null ? null : ask(young, batch)]);
    const gone = await this.whoIsGone(a, b);
    for (const [i, request] of batch.entries()) {
      let [of, and] = [a[i]!, b === null ? null : b[i]!];
      if (gone !== null && (of.lost || and !== null && (and.lost || !isSame(request, of, and)))) {
        // It cannot be asked again, which would tell.
        tally.lost++;
        continue;
      }
      // One that the other end closes the connection on takes others with it; what writes is not asked twice.
      if (
        gone === null && !request.writes &&
        (of.lost || and?.lost || and !== null && !isSame(request, of, and))
      ) {
        await this.pace.take(1);
        const before = (await ask(old, [request]))[0]!;
        and = young === null ? null : (await ask(young, [request]))[0]!;
        of = (await ask(old, [request]))[0]!;
        if (and !== null && isSame(request, before, and)) of = before;
        else if (and !== null && !before.lost && !isSame(request, before, of)) {
          tally.changing++;
          continue;
        }
      }
      this.judge(request, of, and);
    }
    if (gone !== null) throw new CannotCompare(gone);
  }

  /** A target that has left a request without an answer, and does not answer now; null: none. */
  private async whoIsGone(old: readonly Told[], young: readonly Told[] | null): Promise<string | null> {
    for (const [label, peer, told] of [["OLD", this.old, old], ["NEW", this.young, young]] as const) {
      if (peer === null || told === null || !told.some(({ lost }) => lost)) continue;
      const why = await peer.greet();
      if (why !== null) return `${label} at ${peer.place.text} does not answer any more: ${why}`;
    }
    return null;
  }

  private judge(request: Recorded, old: Told, young: Told | null): void {
    const { tally } = this;
    if (
      young !== null && (old.error !== young.error || old.lost !== young.lost || !isSame(request, old, young))
    ) {
      tally.different++;
      this.show(`${said(request)}: OLD ${brief(old)}, NEW ${brief(young)}`);
    } else if (old.lost) {
      tally.lost++;
      this.show(`${said(request)}: ${brief(old)}`);
    } else if (old.error) {
      tally.errors++;
      if (UNSERVED.test(old.text) || young !== null && UNSERVED.test(young.text)) tally.unserved++;
      this.show(`${said(request)}: ${brief(old)}`);
    } else tally.same++;
  }

  private show(line: string): void {
    if (this.tally.examples.length < this.shown) this.tally.examples.push(line);
  }
}

async function ask(peer: Peer, requests: readonly Recorded[]): Promise<Told[]> {
  if (peer instanceof RedisPeer) {
    const answers = await peer.askAll(requests.map(({ words }) => words));
    return answers.map((answer, i) => toldOf(requests[i]!, answer));
  }
  // Each key of a get for itself: what is asked is the same.
  const keys = requests.map(({ words }) => words.slice(1));
  const readings = await (peer as MemcachedPeer).read(keys.flat());
  let next = 0;
  return keys.map((own): Told => {
    const read = readings.slice(next, next += own.length);
    const wrong = read.find(({ kind }) => kind === "error" || kind === "lost");
    if (wrong?.kind === "lost") return { text: wrong.why, error: true, lost: true };
    if (wrong?.kind === "error") return { text: wrong.text, error: true, lost: false };
    const absent = { kind: "absent" } as const;
    return {
      text: read.map((each) => `${differenceOf(each, absent)?.text ?? "-"} ${JSON.stringify(each)}`).join(),
      error: false,
      lost: false,
    };
  });
}

function toldOf({ command }: Recorded, answer: Answer): Told {
  if (answer instanceof LinkLost) return { text: answer.why, error: true, lost: true };
  if (answer instanceof ReplyError) return { text: answer.text, error: true, lost: false };
  if (DRAWN.test(command)) {
    return { text: answer === null ? "nil" : typeof answer, error: false, lost: false };
  }
  const list = UNORDERED.has(command) && Array.isArray(answer) ? answer.map(String).sort() : answer;
  return { text: JSON.stringify(list), error: false, lost: false };
}

function isSame({ command }: Recorded, a: Told, b: Told): boolean {
  // Two proxies may say the same in other words.
  if (a.error && b.error) return a.lost === b.lost;
  const tolerance = TIMES[command];
  if (tolerance === undefined || a.error || b.error) return a.text === b.text && a.error === b.error;
  const [x, y] = [Number(a.text), Number(b.text)];
  return x < 0 || y < 0 ? x === y : Math.abs(x - y) <= tolerance;
}

const said = ({ words }: Recorded): string =>
  words.slice(0, 4).map((word, i) => i === 0 ? latin1(word) : keyShown(word)).join(" ") +
  (words.length > 4 ? " …" : "");

const brief = ({ text }: Told): string => text.length > 80 ? `${text.slice(0, 80)}…` : text;
