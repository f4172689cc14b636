/** /api/topology: which configuration is in force, and where each server of it is. */
import type { ServerConfig, ServersFrom } from "../config/config.ts";
import type { Answer } from "./answer.ts";
import type { ServerState } from "../topology/state.ts";
import type { Around } from "./around.ts";
import { each, longJson } from "./long_json.ts";

/** What a server takes, µs, about. */
const SERVER_US = 3;

export function topology({ clock, turns, config, director, stamp }: Around): Promise<Answer> {
  const states = director.states();
  return longJson(turns, {
    at: clock.wallMs(),
    epoch: stamp.epoch,
    cause: stamp.cause,
    since: stamp.atMs,
    events: director.events.seen.count,
    pools: each(
      config.pools,
      10 * SERVER_US,
      ({ name, failover, readFrom, cluster, serversFrom, servers }) => {
        const stateOf = new Map(states.get(name)?.map((state) => [state.server, state]));
        return {
          name,
          failover,
          read_from: readFrom,
          cluster,
          servers_from: fromShape(serversFrom),
          servers: each(servers, SERVER_US, (server) => serverShape(server, stateOf.get(server.name))),
        };
      },
    ),
  });
}

function serverShape(server: ServerConfig, state: ServerState | undefined) {
  return {
    name: server.name,
    zone: state?.primary?.zone ?? server.zone,
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
