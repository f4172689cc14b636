/**
 * Questions to DNS by node:dns, for topology/dns.ts.
 *
 * Without a server of its own a host name is looked up as everywhere else (hosts file, search domains), each family by
 * itself, so that one that cannot be had is not taken for one that has no address. Deno 2.9.6 says ENOTFOUND for SERVFAIL as
 * well: there it reads as "none", which changes nothing either, unless the other family answers.
 */
import type { Resolver } from "node:dns";
import { builtin } from "../bytes/builtin.ts";
import type { Dns } from "../topology/dns.ts";

const dns = builtin<typeof import("node:dns")>("node:dns");

/** Codes of an answer that says there is none. */
const NONE: readonly string[] = ["ENOTFOUND", "ENODATA"];
/** One try, and how many: together below what a source waits for an answer. */
const TRY_MS = 1500;
const TRIES = 2;

export const systemDns: Dns = {
  async addresses(name, nameserver) {
    const resolver = nameserver === null ? null : resolverOf(nameserver);
    const families = await Promise.all(([4, 6] as const).map((family) =>
      asked<string>((then) => {
        if (resolver === null) {
          dns().lookup(name, { all: true, family }, (error, found) =>
            then(
              error,
              found?.map((each) => each.address),
            ));
        } else if (family === 4) resolver.resolve4(name, then);
        else resolver.resolve6(name, then);
      })
    ));
    return families.flat();
  },

  async services(name, nameserver) {
    const resolver = resolverOf(nameserver);
    const records = await asked<{ name: string; port: number; priority: number; weight: number }>((then) =>
      resolver.resolveSrv(name, then)
    );
    return records.map(({ name, ...rest }) => ({ host: name, ...rest }));
  },
};

function resolverOf(nameserver: string | null): Resolver {
  const resolver = new (dns().Resolver)({ timeout: TRY_MS, tries: TRIES });
  if (nameserver !== null) resolver.setServers([nameserver]);
  return resolver;
}

type Then<T> = (error: Error | null, found?: readonly T[]) => void;

function asked<T>(ask: (then: Then<T>) => void): Promise<readonly T[]> {
  return new Promise((resolve, reject) =>
    ask((error, found) => {
      if (error === null || error === undefined) return resolve(found ?? []);
      const { code } = error as { code?: string };
      if (code !== undefined && NONE.includes(code)) resolve([]);
      else reject(error);
    })
  );
}
