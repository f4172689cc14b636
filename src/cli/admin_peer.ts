/** Which running proxy a subcommand asks: by its configuration, or by its address. */
import { notRead } from "../bytes/os_error.ts";
import { readFileSync } from "node:fs";
import type { AdminPeer, PeerTls } from "../admin/client.ts";
import type { TlsConfig } from "../net/tls.ts";
import { ConfigError, loadConfig } from "../config/parse.ts";
import type { Address } from "../net/net.ts";
import { findConfFile, hasConfFile } from "./conf_file.ts";
import type { PeerOptions } from "./flags.ts";
import { ADMIN_DEFAULT } from "./given_servers.ts";

/** There is nobody to ask. The message is for people. */
export class NoPeer extends Error {
  override readonly name = "NoPeer";
}

/**
 * Where no file says otherwise it is where a proxy is whose servers stand on its command line.
 * @throws NoPeer
 */
export function peerOf(options: PeerOptions): AdminPeer {
  const { confFile, tokenFile } = options;
  const admin = options.admin ?? (confFile === null && !hasConfFile() ? ADMIN_DEFAULT : null);
  const token = tokenFile === null ? null : read("token-file", tokenFile).trim();
  if (admin !== null) return { ...reachable(admin), token, tls: tlsOf(options, null) };
  const file = findConfFile(confFile);
  try {
    const { process } = loadConfig(file);
    if (process.admin === null) {
      throw new NoPeer(
        `${file} has no admin address: expected 'admin: 127.0.0.1:22280' under ringmaster:, or --admin`,
      );
    }
    const tls = tlsOf(options, process.adminTls);
    return { ...reachable(process.admin), token: token ?? process.adminToken, tls };
  } catch (error) {
    if (error instanceof ConfigError) throw new NoPeer(error.message);
    throw error;
  }
}

function read(option: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new NoPeer(`option --${option}: ${notRead(file, error)}`);
  }
}

/** As the options say, and where they say nothing as its configuration does: there its certificate is known, and ours may be the same. */
function tlsOf({ caFile, certFile, keyFile }: PeerOptions, config: TlsConfig | null): PeerTls | null {
  if ((certFile === null) !== (keyFile === null)) {
    throw new NoPeer("expected both of --cert-file and --key-file");
  }
  const given = certFile === null
    ? null
    : { cert: read("cert-file", certFile), key: read("key-file", keyFile!) };
  if (config === null) {
    if (caFile !== null) return { ca: [read("ca-file", caFile)], byFile: false, pair: given };
    if (given !== null) throw new NoPeer("expected --ca-file as well: who has signed its certificate");
    return null;
  }
  const ca = [read("ca-file", caFile ?? config.certificate)];
  if (caFile === null && config.ca !== null) ca.push(read("ca-file", config.ca));
  const own = config.clientCertificates === "required"
    ? { cert: read("cert-file", config.certificate), key: read("key-file", config.key) }
    : null;
  return { ca, byFile: caFile === null, pair: given ?? own };
}

/** Who listens on every address is found on this machine. */
function reachable(address: Address): { host: string; port: number } {
  if ("path" in address) throw new NoPeer(`admin ${address.path}: expected HOST:PORT`);
  const { host, port } = address;
  return { host: host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host, port };
}
