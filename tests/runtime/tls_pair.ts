/** A `Net` that speaks TLS with itself over another one: what the seam's contract is tried on. */
import { createSecureContext } from "node:tls";
import type { Clock, Net } from "../../src/net/net.ts";
import { Engine } from "../../src/runtime/tls_engine.ts";
import { TlsNet, Waiting } from "../../src/runtime/tls_net.ts";
import { certificate } from "../lib/certificates.ts";

export function tlsOver(below: Net, clock: Clock): [Net, Clock] {
  const { cert, key } = certificate({ name: "localhost" });
  const server = createSecureContext({ cert, key });
  const client = createSecureContext({ ca: cert });
  const net = new TlsNet(below, clock, new Waiting(clock), {
    engine: (_name, events) => Engine.accept(server, "none", events),
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
