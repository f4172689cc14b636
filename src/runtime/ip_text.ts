/** Whether a text is an address, as node:net says, which is loaded only for what has a colon. */
import { builtin } from "../bytes/builtin.ts";

const net = builtin<typeof import("node:net")>("node:net");

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/;

/** @returns 4 or 6; 0: neither */
export function isIP(text: string): 0 | 4 | 6 {
  if (IPV4.test(text)) return 4;
  return text.includes(":") ? net().isIP(text) as 0 | 6 : 0;
}
