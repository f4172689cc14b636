/**
 * Which runtime this is, chosen by what it has rather than by what it calls itself. Importing both adapters is
 * harmless: neither touches its global before it is used.
 */
import { builtin } from "../bytes/builtin.ts";
import type { Clock, Net } from "../net/net.ts";
import { unpin } from "../proxy/pins.ts";
import { forgetRequests } from "../proxy/spare_requests.ts";
import { forgetSplits } from "../proxy/split.ts";
import type { Dns } from "../topology/dns.ts";
import { BunNet } from "./bun.ts";
import { SystemClock } from "./clock.ts";
import { RunningClock } from "./running_clock.ts";
import { DenoNet } from "./deno.ts";
import { systemDns } from "./dns.ts";
import { EpollNet } from "./epoll_net.ts";
import { Libc } from "./libc.ts";
import { TlsSide } from "./tls_side.ts";
import { Lull } from "./lull.ts";
import { letGoOfProgram } from "./program_pages.ts";
import { collectV8 } from "./v8_collector.ts";

const dns = builtin<typeof import("node:dns")>("node:dns");

export interface Runtime {
  readonly net: Net;
  readonly clock: Clock;
  /** "bun" or "deno". */
  readonly name: string;
  readonly version: string;
  /** The addresses of a host name; none if it does not resolve. */
  readonly resolve: (host: string) => Promise<readonly string[]>;
  readonly dns: Dns;
  /** Gives memory that is not in use back to the system; takes some ms. Absent where the runtime has no means to. */
  readonly collect?: () => void;
  /** The start is over: from now on memory that is not needed any more is let go of in calm times. To be told in each thread. */
  readonly started?: () => void;
  /** For a thread that is about to end: closes the sockets that would not close by themselves. */
  readonly closeAll?: () => void;
}

/** With this in the environment the executable uses Bun's own sockets: "runtime". For comparing, and should ours ever fail somewhere. */
const SOCKETS_VARIABLE = "RINGMASTER_SOCKETS";

export function currentRuntime(): Runtime {
  if (!("Bun" in globalThis)) {
    return {
      net: new DenoNet(),
      clock: new RunningClock(new SystemClock()),
      name: "deno",
      version: Deno.version.deno,
      resolve,
      dns: systemDns,
      collect: collectV8,
    };
  }
  const own = process.env[SOCKETS_VARIABLE] === "runtime" ? null : openEpollNet();
  const net = own ?? new BunNet();
  const clock = own?.clock ?? new RunningClock(new SystemClock());
  net.tls = new TlsSide(net, clock);
  return {
    net,
    clock,
    name: "bun",
    version: Bun.version,
    resolve,
    dns: systemDns,
    collect: () => Bun.gc(true),
    started: () => {
      if (own === null) return;
      new Lull(clock, processCpuMs, () => {
        unpin();
        forgetRequests();
        forgetSplits();
        Bun.gc(true);
        letGoOfProgram(own.libc);
      });
    },
    closeAll: () => own?.closeAll(),
  };
}

function processCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function resolve(host: string): Promise<readonly string[]> {
  return new Promise((then) => {
    dns().lookup(
      host,
      { all: true },
      (error, found) => then(error === null ? found.map((each) => each.address) : []),
    );
  });
}

/** Null where it cannot be: another system, another C library, no /proc. */
function openEpollNet(): EpollNet | null {
  const libc = Libc.open();
  if (libc === null) return null;
  try {
    return new EpollNet(libc);
  } catch {
    return null;
  }
}
