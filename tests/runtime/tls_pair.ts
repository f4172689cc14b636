/** A `Net` that speaks TLS with itself over another one: what the seam's contract is tried on. */
import { ok } from "node:assert/strict";
import { createSecureContext } from "node:tls";
import type { Clock, Net } from "../../src/net/net.ts";
import { Engine } from "../../src/runtime/tls_engine.ts";
import { TlsNet, Waiting } from "../../src/runtime/tls_net.ts";
import { certificate } from "../lib/certificates.ts";

/** As if very many were half open. */
class Pressed extends Waiting {
  override get pressed(): boolean {
    return true;
  }
}

/** @param pressed every client is asked to say its ClientHello again */
export function tlsOver(below: Net, clock: Clock, pressed = false): [Net, Clock] {
  const { cert, key } = certificate({ name: "localhost" });
  const server = createSecureContext({ cert, key });
  const again = createSecureContext({ cert, key, ecdhCurve: "P-256" });
  const client = createSecureContext({ ca: cert });
  const net = new TlsNet(below, clock, pressed ? new Pressed(clock) : new Waiting(clock), {
    engine: (_name, group, events) => {
      ok(pressed === (group === "P-256"), `the group ${group}`);
      return Engine.accept(group === null ? server : again, "none", events);
    },
    asksAgain: true,
    refusal: () => null,
    shook: () => undefined,
    failed: () => {},
    handshakeMs: 20_000,
  }, {
    engine: (_address, events) => Engine.connect(client, "localhost", events),
    refusal: (_engine, flaw) => flaw === null ? null : flaw.message,
    shook: () => {},
    failed: () => {},
  });
  return [net, clock];
}
