/**
 * What systemd is told, by the datagrams of sd_notify(3): one line each, `NAME=value`, to the unix socket that NOTIFY_SOCKET names.
 * Neither runtime has datagrams over unix sockets, so the C library is called, through the foreign function interface of each.
 */
import { Buffer } from "node:buffer";
import { AF_UNIX } from "./libc.ts";

const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0x80000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const CLOCK_MONOTONIC = 1;

interface Calls {
  socket(family: number, type: number, protocol: number): number;
  sendto(
    fd: number,
    bytes: Bytes,
    size: number | bigint,
    flags: number,
    address: Bytes,
    addressSize: number,
  ): unknown;
  close(fd: number): number;
  clock_gettime(clock: number, to: Bytes): number;
}

type Bytes = Uint8Array<ArrayBuffer>;

/** Sends lines to whoever started this process. */
export interface Notify {
  /** In one datagram; never waits, and a manager that is gone is nobody's fault. */
  send(lines: readonly string[]): void;
  /** Of the clock that systemd compares with, in µs. */
  monotonicUs(): bigint;
}

/** Null if nobody wants to be told, or this system has no such thing. */
export function openNotify(path: string | undefined): Notify | null {
  if (path === undefined || path === "" || process.platform !== "linux") return null;
  const calls = openCalls();
  if (calls === null) return null;
  const address = addressOf(path);
  return {
    send(lines) {
      const fd = calls.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      if (fd < 0) return;
      const bytes = copyOf(Buffer.from(lines.join("\n")));
      calls.sendto(fd, bytes, sizeOf(bytes), MSG_DONTWAIT | MSG_NOSIGNAL, address, address.length);
      calls.close(fd);
    },
    monotonicUs() {
      const time = new Uint8Array(16);
      calls.clock_gettime(CLOCK_MONOTONIC, time);
      const view = new DataView(time.buffer);
      return view.getBigInt64(0, true) * 1_000_000n + view.getBigInt64(8, true) / 1000n;
    },
  };
}

/** struct sockaddr_un. A path that begins with @ is of the abstract space, where that byte is 0. */
function addressOf(path: string): Bytes {
  const text = Buffer.from(path.startsWith("@") ? `\0${path.slice(1)}` : `${path}\0`);
  const bytes = new Uint8Array(2 + text.length);
  new DataView(bytes.buffer).setUint16(0, AF_UNIX, true);
  bytes.set(text, 2);
  return bytes;
}

/** An array of a buffer of its own: what Buffer gives may be a part of a shared one. */
function copyOf(bytes: Uint8Array): Bytes {
  return new Uint8Array(bytes);
}

const sizeOf = (bytes: Bytes): number | bigint => "Deno" in globalThis ? BigInt(bytes.length) : bytes.length;

function openCalls(): Calls | null {
  try {
    if ("Deno" in globalThis) {
      const { symbols } = Deno.dlopen("libc.so.6", {
        socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
        sendto: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"], result: "isize" },
        close: { parameters: ["i32"], result: "i32" },
        clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
      });
      return symbols as unknown as Calls;
    }
    const ffi = process.getBuiltinModule("bun:ffi") as unknown as {
      dlopen(library: string, symbols: unknown): { symbols: Calls };
    };
    return ffi.dlopen("libc.so.6", {
      socket: { args: ["i32", "i32", "i32"], returns: "i32" },
      sendto: { args: ["i32", "ptr", "u64_fast", "i32", "ptr", "u32"], returns: "i64_fast" },
      close: { args: ["i32"], returns: "i32" },
      clock_gettime: { args: ["i32", "ptr"], returns: "i32" },
    }).symbols;
  } catch {
    return null;
  }
}
