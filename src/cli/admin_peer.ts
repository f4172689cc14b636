/** Which running proxy a subcommand asks: by its configuration, or by its address. */
import { readFileSync } from "node:fs";
import type { AdminPeer } from "../admin/client.ts";
import { ConfigError, loadConfig } from "../config/parse.ts";
import type { Address } from "../net/net.ts";
import { findConfFile } from "./conf_file.ts";
import type { PeerOptions } from "./flags.ts";

/** There is nobody to ask. The message is for people. */
export class NoPeer extends Error {
  override readonly name = "NoPeer";
}

/** @throws NoPeer */
export function peerOf({ confFile, admin, tokenFile }: PeerOptions): AdminPeer {
  const token = tokenFile === null ? null : tokenIn(tokenFile);
  if (admin !== null) return { ...reachable(admin), token };
  const file = findConfFile(confFile);
  try {
    const { process } = loadConfig(file);
    if (process.admin === null) {
      throw new NoPeer(
        `${file} has no admin address: expected 'admin: 127.0.0.1:22280' under ringmaster:, or --admin`,
      );
    }
    return { ...reachable(process.admin), token: token ?? process.adminToken };
  } catch (error) {
    if (error instanceof ConfigError) throw new NoPeer(error.message);
    throw error;
  }
}

function tokenIn(file: string): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new NoPeer(`option --token-file: ${(error as Error).message}`);
  }
}

/** Who listens on every address is found on this machine. */
function reachable(address: Address): { host: string; port: number } {
  if ("path" in address) throw new NoPeer(`admin ${address.path}: expected HOST:PORT`);
  const { host, port } = address;
  return { host: host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host, port };
}
