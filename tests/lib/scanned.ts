/** The words of a request as a scanner would leave them: one after another, with rubbish around. */
import { Args } from "../../src/protocol/redis/args.ts";
import { latin1 } from "./bytes.ts";

export function scanned(words: readonly string[]): { bytes: Uint8Array; args: Args } {
  const args = new Args();
  args.reserve(words.length);
  args.count = words.length;
  let text = "#";
  words.forEach((word, i) => {
    args.starts[i] = text.length;
    text += word;
    args.ends[i] = text.length;
    text += "#";
  });
  return { bytes: latin1(text), args };
}
