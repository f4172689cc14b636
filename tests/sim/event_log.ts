/**
 * The last N things that happened in a simulation, to print when it fails.
 *
 *   ms            socket  what                 bytes
 *   1203.250      c17     data                 512
 */
export class EventLog {
  private readonly rows: string[];
  private readonly times: Float64Array;
  private readonly sockets: string[];
  private readonly sizes: Float64Array;
  /** Events since the start, forgotten ones included. */
  count = 0;
  /** A number over all events so far: two runs of one seed must have the same. */
  hash = 0;

  /** @param size how many events are kept */
  constructor(private readonly size = 200) {
    this.rows = new Array(size).fill("");
    this.sockets = new Array(size).fill("");
    this.times = new Float64Array(size);
    this.sizes = new Float64Array(size);
  }

  /** @param bytes how many bytes it is about, or -1 */
  add(atMs: number, socket: string, what: string, bytes = -1): void {
    const i = this.count++ % this.size;
    this.times[i] = atMs;
    this.sockets[i] = socket;
    this.rows[i] = what;
    this.sizes[i] = bytes;
    let hash = Math.imul(this.hash ^ (atMs * 1000 | 0), 0x01000193) ^ bytes;
    for (let k = 0; k < what.length; k++) hash = Math.imul(hash, 31) + what.charCodeAt(k);
    for (let k = 0; k < socket.length; k++) hash = Math.imul(hash, 31) + socket.charCodeAt(k);
    this.hash = hash | 0;
  }

  /** One line an event, oldest first; at most `last` of them. */
  toString(last = this.size): string {
    const lines: string[] = [];
    for (let n = Math.max(0, this.count - Math.min(last, this.size)); n < this.count; n++) {
      const i = n % this.size;
      const size = this.sizes[i]! < 0 ? "" : String(this.sizes[i]);
      lines.push(
        `${this.times[i]!.toFixed(3).padStart(12)}  ${this.sockets[i]!.padEnd(8)} ${
          this.rows[i]!.padEnd(28)
        } ${size}`,
      );
    }
    return lines.join("\n");
  }
}
