/** /api/tap: some of the requests, as they are answered; a stream of server-sent events. */
import { quoted } from "../config/config_error.ts";
import { encode, latin1 } from "../bytes/ascii.ts";
import { RATE_DEFAULT, RATE_MAX } from "../stats/tapped.ts";
import { type Asked, Refused, type Stream } from "./answer.ts";
import type { Around } from "./around.ts";
import { countOf, poolOf } from "./parameters.ts";

/** A reader who has not taken so many bytes loses what comes meanwhile, and is told how much. */
const OWED_MAX = 256 * 1024;
const TEXT_MAX = 256;
/** A reader hears something so often, and we hear that it has gone; ms. */
const BREATH_MS = 5000;

export function tap(around: Around, { query }: Asked): Stream {
  const { tapping, clock, config } = around;
  const filter = {
    pool: poolOf(config, query.pool!),
    key: textOf("key", query.key!),
    command: textOf("command", query.command!.toLowerCase()),
    client: textOf("client", query.client!),
    rate: countOf(query.rate!, RATE_DEFAULT, RATE_MAX, "rate"),
  };
  return {
    type: "text/event-stream; charset=utf-8",
    stream(out) {
      let missed = 0;
      const stop = tapping.listen(filter, (samples, lost) => {
        missed += lost;
        if (out.owedBytes > OWED_MAX) {
          missed += samples.length;
          return;
        }
        if (missed > 0) {
          out.write(`event: lost\ndata: ${JSON.stringify({ at: clock.wallMs(), count: missed })}\n\n`);
        }
        missed = 0;
        out.write(samples.map((sample) => `data: ${JSON.stringify(sample)}\n\n`).join(""));
      });
      if (stop === null) {
        out.write(`event: refused\ndata: ${JSON.stringify({ error: "too many listen already" })}\n\n`);
        out.end();
        return () => {};
      }
      out.write(": listening\n\n");
      const breath = () => {
        if (out.owedBytes === 0) out.write(": \n\n");
        timer = clock.setTimer(BREATH_MS, breath);
      };
      let timer = clock.setTimer(BREATH_MS, breath);
      return () => {
        clock.clearTimer(timer);
        stop();
      };
    },
  };
}

/** As bytes, each a character: so are keys. */
function textOf(name: string, text: string): string | null {
  if (text === "") return null;
  const bytes = encode(text);
  if (bytes.length > TEXT_MAX) {
    throw new Refused(400, `${name}: found ${quoted(text)}, expected ${TEXT_MAX} bytes at most`);
  }
  return latin1(bytes);
}
