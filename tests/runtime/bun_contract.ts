/**
 * The seam's contract on Bun's sockets: a program for Bun, started by bun_test.ts. One line a case:
 * "ok<tab>name" or "FAILED<tab>name<tab>error as JSON". Arguments: the net, "bun", "epoll", "epoll with pipes that give nothing" or "tls over" one, "pressed"
 * of the first two; part of a name to run only those cases.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import process from "node:process";
import { BunNet } from "../../src/runtime/bun.ts";
import type { Clock, Net } from "../../src/net/net.ts";
import { SystemClock } from "../../src/runtime/clock.ts";
import { RunningClock } from "../../src/runtime/running_clock.ts";
import { EpollNet } from "../../src/runtime/epoll_net.ts";
import { EINVAL, Libc } from "../../src/runtime/libc.ts";
import { SplicePipe } from "../../src/runtime/splice.ts";
import { contract } from "./contract.ts";
import { epollContract } from "./epoll_contract.ts";
import { kernelContract } from "./kernel_contract.ts";
import { tlsOver } from "./tls_pair.ts";

const dir = mkdtempSync(`${tmpdir()}/ringmaster-seam-`);
const cases: [string, () => Promise<void>][] = [];
const only = process.argv[3] ?? "";
const register = (name: string, run: () => Promise<void>) =>
  void (name.includes(only) && cases.push([name, run]));
const [net, clock] = netAndClock(process.argv[2]!);
contract(net, clock, register, dir);
kernelContract(net, clock, register, dir, process.argv[2]!.startsWith("tls"));
if (net instanceof EpollNet) epollContract(net, register);

function netAndClock(name: string): [Net, Clock] {
  if (name === "bun") return [new BunNet(), new RunningClock(new SystemClock())];
  if (name === "tls over bun") return tlsOver(...netAndClock("bun"));
  if (name === "tls over epoll") return tlsOver(...netAndClock("epoll"));
  if (name === "tls over epoll, pressed") return tlsOver(...netAndClock("epoll"), true);
  if (name === "epoll with pipes that give nothing") SplicePipe.prototype.pour = () => EINVAL;
  const net = new EpollNet(Libc.open()!);
  return [net, net.clock];
}

let failed = 0;
for (const [name, run] of cases) {
  try {
    await run();
    console.log(`ok\t${name}`);
  } catch (error) {
    failed++;
    console.log(
      `FAILED\t${name}\t${
        JSON.stringify(error instanceof Error ? error.stack ?? error.message : String(error))
      }`,
    );
  }
}
rmSync(dir, { recursive: true });
process.exit(failed > 0 ? 1 : 0);
