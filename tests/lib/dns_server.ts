/**
 * A small DNS server on loopback, UDP and TCP on one port: A, AAAA and SRV records that a test sets and changes.
 *
 *   const dns = f.add(await DnsServer.start());
 *   dns.addresses.set("redis.test", ["127.0.0.1"]);
 */
import { Buffer } from "node:buffer";
import dgram from "node:dgram";
import net from "node:net";

export interface SrvRecord {
  readonly host: string;
  readonly port: number;
  /** 1 if absent. */
  readonly weight?: number;
  /** 0 if absent. */
  readonly priority?: number;
}

const [A, AAAA, SRV] = [1, 28, 33];
const [OK, SERVER_FAILURE, NO_SUCH_NAME] = [0, 2, 3];
const RESPONSE = 0x8180;
const TRUNCATED = 0x0200;
const HEADER = 12;

export class DnsServer implements AsyncDisposable {
  /** By name, in lower case. A name in neither map does not exist. */
  readonly addresses = new Map<string, readonly string[]>();
  readonly services = new Map<string, readonly SrvRecord[]>();
  /** "refuse" answers SERVFAIL, "ignore" nothing at all. */
  mood: "answer" | "refuse" | "ignore" = "answer";
  /** Largest answer by UDP, bytes; a larger one is cut, and has to be asked for again by TCP. */
  udpMax = 512;
  /** "NAME TYPE" of every question. */
  readonly asked: string[] = [];
  private readonly sockets = new Set<net.Socket>();

  private constructor(private readonly udp: dgram.Socket, private readonly tcp: net.Server) {
    udp.on("message", (question, from) => {
      const answer = this.answer(question, this.udpMax);
      // Who has asked may have gone: that is no error of whichever test runs then.
      if (answer !== null) udp.send(answer, from.port, from.address, () => {});
    });
    udp.on("error", () => {});
    tcp.on("error", () => {});
    tcp.on("connection", (socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
      socket.on("error", () => socket.destroy());
      socket.on("data", (bytes) => {
        const answer = this.answer(Buffer.from(bytes as Uint8Array).subarray(2), Infinity);
        if (answer === null) return;
        const length = Buffer.alloc(2);
        length.writeUInt16BE(answer.length);
        socket.end(Buffer.concat([length, answer]));
      });
    });
  }

  /** @param port 0 takes a free one; 53 is where a system's own server is asked */
  static async start(host = "127.0.0.1", port = 0): Promise<DnsServer> {
    const tcp = net.createServer();
    await new Promise<void>((resolve, reject) => {
      tcp.once("error", reject);
      tcp.listen(port, host, () => resolve());
    });
    const udp = dgram.createSocket("udp4");
    await new Promise<void>((resolve, reject) => {
      udp.once("error", reject);
      udp.bind((tcp.address() as net.AddressInfo).port, host, () => resolve());
    });
    return new DnsServer(udp, tcp);
  }

  /** "HOST:PORT". */
  get address(): string {
    const { address, port } = this.tcp.address() as net.AddressInfo;
    return `${address}:${port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await Promise.all([
      new Promise<void>((resolve) => this.udp.close(() => resolve())),
      new Promise<void>((resolve) => this.tcp.close(() => resolve())),
    ]);
  }

  /** @returns null: nothing is answered */
  private answer(question: Uint8Array, sizeMax: number): Buffer | null {
    const bytes = Buffer.from(question);
    const labels: string[] = [];
    let at = HEADER;
    for (let length = bytes[at]!; length > 0; length = bytes[at]!) {
      labels.push(bytes.toString("latin1", at + 1, at + 1 + length));
      at += 1 + length;
    }
    // No question, but what was meant for whoever had this port before.
    if (at + 5 > bytes.length) return null;
    const type = bytes.readUInt16BE(at + 1);
    const name = labels.join(".").toLowerCase();
    this.asked.push(`${name} ${type === A ? "A" : type === AAAA ? "AAAA" : type === SRV ? "SRV" : type}`);
    if (this.mood === "ignore") return null;
    const exists = this.addresses.has(name) || this.services.has(name);
    const code = this.mood === "refuse" ? SERVER_FAILURE : exists ? OK : NO_SUCH_NAME;
    const data = code === OK ? this.dataOf(name, type) : [];
    const records = data.map((each) => record(type, each));
    const whole = Buffer.concat([
      header(bytes, code, records.length),
      bytes.subarray(HEADER, at + 5),
      ...records,
    ]);
    if (whole.length <= sizeMax) return whole;
    return Buffer.concat([header(bytes, code | TRUNCATED, 0), bytes.subarray(HEADER, at + 5)]);
  }

  private dataOf(name: string, type: number): Buffer[] {
    if (type === SRV) return (this.services.get(name) ?? []).map(srvData);
    return (this.addresses.get(name) ?? [])
      .filter((address) => type === (address.includes(":") ? AAAA : A))
      .map((address) => type === A ? Buffer.from(address.split(".").map(Number)) : ipv6(address));
  }
}

function header(question: Buffer, flags: number, answers: number): Buffer {
  const bytes = Buffer.alloc(HEADER);
  question.copy(bytes, 0, 0, 2);
  bytes.writeUInt16BE(RESPONSE | flags, 2);
  bytes.writeUInt16BE(1, 4);
  bytes.writeUInt16BE(answers, 6);
  return bytes;
}

/** Of the name that was asked for; nobody may keep it. */
function record(type: number, data: Buffer): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xc000 | HEADER, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

function srvData({ host, port, weight = 1, priority = 0 }: SrvRecord): Buffer {
  const numbers = Buffer.alloc(6);
  [priority, weight, port].forEach((value, i) => numbers.writeUInt16BE(value, 2 * i));
  const labels = host.split(".").map((label) => Buffer.from([label.length, ...Buffer.from(label, "latin1")]));
  return Buffer.concat([numbers, ...labels, Buffer.of(0)]);
}

function ipv6(address: string): Buffer {
  const [head, tail] = address.split("::").map((part) => part.split(":").filter((group) => group !== "")) as [
    string[],
    string[]?,
  ];
  const groups = tail === undefined
    ? head
    : [...head, ...Array(8 - head.length - tail.length).fill("0"), ...tail];
  const bytes = Buffer.alloc(16);
  groups.forEach((group, i) => bytes.writeUInt16BE(parseInt(group, 16), 2 * i));
  return bytes;
}
