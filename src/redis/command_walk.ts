/** Commands of very many arguments that ask about each: COMMAND INFO and DOCS, PUBSUB NUMSUB, SCRIPT EXISTS. */
import { concat, encode } from "../bytes/ascii.ts";
import type { Args } from "../protocol/redis/args.ts";
import type { DatabaseChannels } from "../protocol/redis/database_channels.ts";
import { DocsNames } from "../protocol/redis/command_docs.ts";
import { commandHead } from "../protocol/redis/encode.ts";
import { writeInfoRows } from "../protocol/redis/introspection.ts";
import { ReplyWriter } from "../protocol/redis/reply_writer.ts";
import { firstElement, isError } from "../protocol/redis/reply.ts";
import type { Command } from "../protocol/redis/command.ts";
import { sendEverywhere } from "./split.ts";
import { type Joiner, SCRATCH } from "../proxy/split.ts";
import { type SliceWork, type Walk, WalkSplit } from "./walk.ts";

/** COMMAND INFO: the rows of a slice leave together. */
export class InfoRows implements SliceWork {
  private readonly reply: ReplyWriter;

  /** @param count how many names there are */
  constructor(count: number, private readonly resp: 2 | 3) {
    this.reply = new ReplyWriter(resp).array(count);
  }

  slice(walk: Walk, bytes: Uint8Array, args: Args): void {
    writeInfoRows(this.reply, bytes, args, 1, this.resp);
    walk.sendPart(this.reply.take());
    walk.goOn();
  }

  end(walk: Walk): void {
    walk.finish();
  }
}

/** COMMAND DOCS: a server is asked once, for each command once, when all names have been seen. */
export class DocsQuestion implements SliceWork {
  private readonly names = new DocsNames();

  /** @param ask asks for the documents, and ends the walk with them */
  constructor(private readonly ask: (walk: Walk, names: DocsNames) => void) {}

  slice(walk: Walk, bytes: Uint8Array, args: Args): void {
    this.names.note(bytes, args, 1);
    walk.goOn();
  }

  end(walk: Walk): void {
    this.ask(walk, this.names);
  }
}

/** Asks every server about a slice at a time; the replies are arrays with as many elements for each argument. */
export class EveryServerWork implements SliceWork {
  private readonly name: readonly string[];
  private begun = false;

  /**
   * @param count arguments after the name, which has two words
   * @param each elements of the reply for each
   * @param join makes one array of the servers' replies to a slice
   * @param channels how the arguments are called on the servers, if they are channels
   */
  constructor(
    command: Command,
    private readonly count: number,
    private readonly each: number,
    private readonly join: Joiner,
    private readonly channels: DatabaseChannels | null = null,
  ) {
    this.name = command.name.split("|");
  }

  slice(walk: Walk, bytes: Uint8Array, args: Args): void {
    const names = args.count - 1;
    const head = commandHead(names + 2, ...this.name);
    const own = bytes.subarray(args.ends[0]! + 2, args.ends[names]! + 2);
    const request = concat(head, this.channels?.wireBulks(bytes, args, 1) ?? own);
    const split = new WalkSplit(walk, this.join, 0, (joined, end) => this.took(walk, joined, end));
    sendEverywhere(walk.client, request, 0, request.length, this.join, 0, split);
  }

  private took(walk: Walk, joined: Uint8Array, end: number): void {
    if (isError(joined, 0)) {
      // A part of the reply may have left: an error would be taken for an element.
      if (this.begun) walk.client.giveUp("cannot have the rest of a reply, which has failed in the middle");
      return walk.finish(joined === SCRATCH.bytes ? joined.slice(0, end) : joined);
    }
    if (!this.begun) walk.sendPart(encode(`*${this.count * this.each}\r\n`));
    this.begun = true;
    walk.sendPart(joined, firstElement(joined, 0), end);
    walk.goOn();
  }

  end(walk: Walk): void {
    walk.finish();
  }
}
