/// <reference lib="dom" />
/**
 * What the page can change: asked before, said after, and taken back with one button.
 *
 *   button ──► dialog: what will happen ──► POST ──► said at the foot of the page, with Undo
 */
import { AnswerError, post } from "./api.ts";
import { button, byId, el, setText } from "./dom.ts";
import type { ServerShape } from "./shapes.ts";
import { percent } from "../../topology/plan_text.ts";

export type Action = "eject" | "drain" | "restore";

interface Words {
  readonly button: string;
  readonly done: string;
  readonly undo: Action | null;
  says(server: ServerShape): string;
}

const shareOf = ({ share }: ServerShape): string =>
  share === null ? "Its keys" : `Its keys, ${percent(share)},`;

export const ACTIONS: Readonly<Record<Action, Words>> = {
  eject: {
    button: "Eject",
    done: "ejected",
    undo: "restore",
    says: (server) =>
      `${
        shareOf(server)
      } go to the other servers at once, until it is restored. What those do not have is a miss.`,
  },
  drain: {
    button: "Drain",
    done: "draining",
    undo: "restore",
    says: (server) =>
      `No new requests go to it and those under way are answered. ${
        shareOf(server)
      } go to the other servers until it is restored.`,
  },
  restore: {
    button: "Restore",
    done: "restored",
    undo: null,
    says: () => "It is on the ring again, and gets the keys that it had.",
  },
};

export const actionsOf = ({ state }: ServerShape): readonly Action[] =>
  state === "ejected" || state === "drained" ? ["restore"] : ["eject", "drain"];

const dialog = (): HTMLDialogElement => byId<HTMLDialogElement>("ask");

/** Asks a question; resolves to what was chosen. Escape and Cancel are null. */
export function ask(title: string, body: readonly (Node | string)[], yes: string): Promise<boolean> {
  const box = dialog();
  return new Promise((resolve) => {
    const close = (answer: boolean) => {
      box.onclose = null;
      box.close();
      resolve(answer);
    };
    const form = el(
      "form",
      { method: "dialog" },
      el("h2", { id: "ask-title" }, title),
      ...body,
      el(
        "div",
        { class: "buttons" },
        button("Cancel", () => close(false)),
        el("button", { class: "main" }, yes),
      ),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      close(true);
    });
    box.replaceChildren(form);
    box.onclose = () => resolve(false);
    box.showModal();
    form.querySelector<HTMLElement>(".main")?.focus();
  });
}

/** Says at the foot of the page what has happened; stays until it is closed or the next thing happens. */
export function say(text: string, bad = false, undo: (() => void) | null = null): void {
  const foot = byId("said");
  const line = el("span", { role: bad ? "alert" : null });
  setText(line, text);
  const close = button("Close", () => foot.replaceChildren(), { class: "quiet" });
  const parts: Node[] = [line];
  if (undo !== null) parts.push(button("Undo", undo, { class: "main", id: "undo" }));
  foot.replaceChildren(el("div", { class: bad ? "bad" : "" }, ...parts, close));
}

/** @param changed called when it has been done */
export async function act(
  action: Action,
  pool: string,
  server: ServerShape,
  changed: () => void,
): Promise<void> {
  const { button: word, says } = ACTIONS[action];
  const text = el("p", {}, says(server));
  if (!await ask(`${word} ${server.name} of ${pool}?`, [text], word)) return;
  await perform(action, pool, server.name, changed);
}

async function perform(action: Action, pool: string, server: string, changed: () => void): Promise<void> {
  const { done, undo } = ACTIONS[action];
  try {
    await post(`/api/servers/${encodeURIComponent(server)}/${action}?pool=${encodeURIComponent(pool)}`);
  } catch (error) {
    say(`${server} of ${pool}: ${(error as AnswerError).message}`, true);
    return;
  }
  changed();
  say(
    `${server} of ${pool} is ${done}.`,
    false,
    undo === null ? null : () => void perform(undo, pool, server, changed),
  );
}
