/** /api/topology: which configuration is in force, and where each server of it is. */
import type { ServersFrom } from "../config/config.ts";
import { type Answer, json } from "./answer.ts";
import type { Around } from "./around.ts";

export function topology({ clock, config, director, stamp }: Around): Answer {
  const states = director.states();
  return json({
    at: clock.wallMs(),
    epoch: stamp.epoch,
    cause: stamp.cause,
    since: stamp.atMs,
    events: director.events.seen.count,
    pools: config.pools.map(({ name, failover, readFrom, cluster, serversFrom, servers }) => ({
      name,
      failover,
      read_from: readFrom,
      cluster,
      servers_from: fromShape(serversFrom),
      servers: servers.map((server) => {
        const state = states.get(name)?.find((one) => one.server === server.name);
        return {
          name: server.name,
          zone: server.zone,
          weight: server.weight,
          master: server.master,
          slots: server.slots,
          term: state?.term ?? null,
          primary: state === undefined ? server.addressText : state.primary?.text ?? null,
          cause: state?.cause ?? "",
          why: state?.why ?? "",
          replicas: state?.replicas.map(({ text, zone }) => ({ address: text, zone })) ??
            server.replicas.map(({ text, zone }) => ({ address: text, zone })),
        };
      }),
    })),
  });
}

/** Where a pool's servers come from, by the file's own keys; null: the file names them. */
export function fromShape(from: ServersFrom | null) {
  if (from === null) return null;
  if ("file" in from) return { file: from.file };
  if ("seeds" in from) {
    return {
      seeds: from.seeds.map(({ text, zone }) => ({ address: text, zone })),
      interval_ms: from.intervalMs,
    };
  }
  return {
    dns: from.port === null ? from.dns : `${from.dns}:${from.port}`,
    interval_ms: from.intervalMs,
    nameserver: from.nameserver,
  };
}
