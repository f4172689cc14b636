/**
 * The slow log of a pool: its last requests that took long, in memory that all workers share. Any worker adds, any thread reads.
 *
 *   next id | cleared up to │ id + 1 | text size | at | waited | served | text │ …           a record each, id modulo RECORDS
 *
 * A record says whose it is when all of it is there; who reads looks before and after, and leaves out what has been overwritten
 * meanwhile.
 */
/** As many as are kept at most. */
export const SLOW_LOG_MAX = 256;

export interface SlowRequest {
  /** ms since the epoch. */
  readonly atMs: number;
  readonly server: string;
  /** Address, and the name it has given itself; latin1. */
  readonly client: string;
  readonly clientName: string;
  /** As they are shown, the command's name first; latin1. Empty: they were not kept. */
  readonly words: readonly string[];
  readonly waitedUs: number;
  readonly servedUs: number;
}

export interface SlowEntry extends SlowRequest {
  /** Counts up, over all workers. */
  readonly id: number;
}

const RECORDS = SLOW_LOG_MAX;
const RECORD_BYTES = 8192;
/** Of a record: id + 1 and the size of the text, as int32; then three doubles. */
const AT = 8;
const WAITED = 16;
const SERVED = 24;
const TEXT = 32;
const TEXT_MAX = RECORD_BYTES - TEXT;
/** Of the whole: cells, int32. */
const NEXT = 0;
const CLEARED = 1;
const HEAD_BYTES = 128;

export class SlowLog {
  private readonly cells: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;

  /** @param offset where in `buffer` it begins: a multiple of 8 */
  constructor(buffer: SharedArrayBuffer, offset: number) {
    this.cells = new Int32Array(buffer, offset, SlowLog.bytes / 4);
    this.bytes = new Uint8Array(buffer, offset, SlowLog.bytes);
    this.view = new DataView(buffer, offset, SlowLog.bytes);
  }

  /** What it takes; the system lends only what is used of it. */
  static readonly bytes = HEAD_BYTES + RECORDS * RECORD_BYTES;

  add(request: SlowRequest): void {
    const id = Atomics.add(this.cells, NEXT, 1);
    const at = recordOf(id);
    Atomics.store(this.cells, at / 4, 0);
    const text = textOf(request);
    this.bytes.set(text, at + TEXT);
    this.view.setInt32(at + 4, text.length, true);
    this.view.setFloat64(at + AT, request.atMs, true);
    this.view.setFloat64(at + WAITED, request.waitedUs, true);
    this.view.setFloat64(at + SERVED, request.servedUs, true);
    Atomics.store(this.cells, at / 4, id + 1);
  }

  /** Forgets all there are. */
  clear(): void {
    Atomics.store(this.cells, CLEARED, Atomics.load(this.cells, NEXT));
  }

  /** How many there are, `max` at most. */
  count(max: number): number {
    const held = Atomics.load(this.cells, NEXT) - Atomics.load(this.cells, CLEARED);
    return Math.min(held, max, RECORDS);
  }

  /** The newest, `most` at most, newest first. */
  newest(most: number): SlowEntry[] {
    return [...this.eachNewest(most)];
  }

  /** The same, each read when it is asked for. */
  *eachNewest(most: number): Generator<SlowEntry, void> {
    const next = Atomics.load(this.cells, NEXT);
    const oldest = next - this.count(most);
    for (let id = next - 1; id >= oldest; id--) {
      const entry = this.read(id);
      if (entry !== null) yield entry;
    }
  }

  private read(id: number): SlowEntry | null {
    const at = recordOf(id);
    if (Atomics.load(this.cells, at / 4) !== id + 1) return null;
    const size = this.view.getInt32(at + 4, true);
    // A copy: a TextDecoder takes no shared memory.
    const text = this.bytes.slice(at + TEXT, at + TEXT + Math.min(size, TEXT_MAX));
    const [atMs, waitedUs, servedUs] = [AT, WAITED, SERVED].map((field) =>
      this.view.getFloat64(at + field, true)
    ) as [number, number, number];
    if (Atomics.load(this.cells, at / 4) !== id + 1) return null;
    const [server, client, clientName, ...words] = JSON.parse(new TextDecoder().decode(text)) as string[];
    return { id, atMs, server: server!, client: client!, clientName: clientName!, words, waitedUs, servedUs };
  }
}

const recordOf = (id: number): number => HEAD_BYTES + (id % RECORDS) * RECORD_BYTES;

/** As JSON, with as many words as there is room for. */
function textOf({ server, client, clientName, words }: SlowRequest): Uint8Array {
  for (let kept = words.length;; kept = kept >> 1) {
    const more = kept < words.length ? [`... (${words.length - kept} more arguments)`] : [];
    const list = [server.slice(0, 300), client.slice(0, 200), clientName.slice(0, 200)];
    const text = new TextEncoder().encode(JSON.stringify([...list, ...words.slice(0, kept), ...more]));
    if (text.length <= TEXT_MAX || kept === 0) return text.subarray(0, TEXT_MAX);
  }
}
