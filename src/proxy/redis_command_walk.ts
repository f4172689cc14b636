/** COMMAND INFO and COMMAND DOCS of very many names. */
import type { Args } from "../protocol/redis/args.ts";
import { DocsNames } from "../protocol/redis/command_docs.ts";
import { writeInfoRows } from "../protocol/redis/introspection.ts";
import { ReplyWriter } from "../protocol/redis/reply_writer.ts";
import type { SliceWork, Walk } from "./redis_walk.ts";

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
