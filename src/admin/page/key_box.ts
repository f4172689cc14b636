/// <reference lib="dom" />
/** Where a key lives, and why: every step that the proxy takes, as it tells them. */
import { type AnswerError, get } from "./api.ts";
import { byId, el } from "./dom.ts";

/** @param pool the one that is looked at */
export function keyBox(pool: () => string | null): void {
  const form = byId<HTMLFormElement>("key-form");
  const input = byId<HTMLInputElement>("key");
  const out = byId("key-out");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void (async () => {
      try {
        const query = new URLSearchParams({ pool: pool() ?? "", key: input.value });
        out.replaceChildren(facts(await get(`/api/route?${query}`)));
      } catch (error) {
        out.replaceChildren(el("p", { class: "wrong", role: "alert" }, (error as AnswerError).message));
      }
    })();
  });
}

/** Any JSON as a list of names and values; what is nested is a list in it. */
export function facts(value: unknown): HTMLElement {
  if (Array.isArray(value)) {
    if (value.length === 0) return el("span", {}, "none");
    return el("ol", {}, ...value.map((one) => el("li", {}, facts(one))));
  }
  if (typeof value !== "object" || value === null) {
    return el("span", {}, value === null ? "–" : String(value));
  }
  const rows = Object.entries(value).map(([name, one]) => {
    const title = name.replaceAll("_", " ");
    return [el("dt", {}, title), el("dd", { "data-fact": name }, facts(one))];
  });
  return el("dl", {}, ...rows.flat());
}
