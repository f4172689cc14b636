/// <reference lib="dom" />
/**
 * A new configuration, pasted or dropped: what would move, as a picture and in words, then the reload.
 */
import type { PoolPlan } from "../../topology/plan.ts";
import { planSvg } from "../../topology/plan_svg.ts";
import { planText } from "../../topology/plan_text.ts";
import { ask, say } from "./actions.ts";
import { type AnswerError, post } from "./api.ts";
import { byId, el } from "./dom.ts";

export function planBox(): void {
  const text = byId<HTMLTextAreaElement>("plan-text");
  const out = byId("plan-out");
  const box = byId("plan");
  const form = byId<HTMLFormElement>("plan-form");

  const take = async (file: File | undefined) => {
    if (file === undefined) return;
    text.value = await file.text();
    form.requestSubmit();
  };
  const picker = byId<HTMLInputElement>("plan-file");
  picker.addEventListener("change", () => void take(picker.files?.[0]));
  box.addEventListener("dragover", (event) => {
    event.preventDefault();
    box.classList.add("over");
  });
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    box.classList.remove("over");
    void take(event.dataTransfer?.files[0]);
  });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void (async () => {
      out.replaceChildren(el("p", { class: "note" }, "Working it out …"));
      try {
        const { pools } = await post("/api/plan", text.value) as { pools: PoolPlan[] };
        out.replaceChildren(...shown(pools));
      } catch (error) {
        out.replaceChildren(el("pre", { class: "wrong", role: "alert" }, (error as AnswerError).message));
      }
    })();
  });

  byId("reload").addEventListener("click", () => {
    void (async () => {
      const body = el(
        "p",
        {},
        "The proxy reads its own configuration file again, as with SIGHUP. What is in the box above is not sent: it has to be in that file.",
      );
      if (!await ask("Reload the configuration?", [body], "Reload")) return;
      try {
        const answer = await post("/api/reload") as { text?: string } | string;
        say(typeof answer === "string" ? answer.trim() || "Reloaded." : answer.text ?? "Reloaded.");
      } catch (error) {
        say((error as AnswerError).message, true);
      }
    })();
  });
}

function shown(pools: readonly PoolPlan[]): Node[] {
  // JSON leaves an empty sentence out.
  const plans = pools.map((plan) => ({ ...plan, why: plan.why ?? "" }));
  const words = el(
    "pre",
    { id: "plan-words", tabindex: "0" },
    plans.map((plan) => planText(plan)).join("\n"),
  );
  const drawn = plans.filter(({ change, servers }) => change !== "same" && servers.length > 0);
  if (drawn.length === 0) return [words];
  const parsed = new DOMParser().parseFromString(planSvg(drawn), "image/svg+xml").documentElement;
  const svg = document.importNode(parsed, true);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "Shares before and after; the same is in words above");
  return [words, el("div", { class: "picture" }, svg)];
}
