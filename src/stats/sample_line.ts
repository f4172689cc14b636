/** A request that was looked at, as a line for people: of `ringmaster tap` and the access log. */
import type { Sample } from "./tapped.ts";

/**
 * 2026-11-29T20:01:02.003Z alpha 127.0.0.1:5123 > server1 0.012 ms + 0.340 ms, 35 bytes: "get" "key"
 *
 * With the line end. Words are quoted as JSON has them, so nothing in them ends the line or is an order to a terminal.
 */
export function sampleLine(
  { at, pool, server, client, command, arguments: words, waited_us, served_us, reply_bytes }: Sample,
): string {
  const served = served_us === null ? "" : ` + ${ms(served_us)}`;
  const said = [command, ...words].map(quoted).join(" ");
  return `${new Date(at).toISOString()} ${bare(pool)} ${bare(client)} > ${bare(server ?? "-")} ${
    ms(waited_us)
  }${served}, ${reply_bytes} bytes: ${said}\n`;
}

const ms = (us: number): string => `${(us / 1000).toFixed(3)} ms`;

// deno-lint-ignore no-control-regex
const ORDERS = /[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g;
const escaped = (letter: string): string => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`;

const bare = (text: string): string => text.replace(ORDERS, escaped);
const quoted = (text: string): string => bare(JSON.stringify(text));
