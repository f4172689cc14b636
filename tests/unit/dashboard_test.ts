/** conf/grafana.json and conf/alerts.yml: what they ask for exists, and a dashboard that can be imported. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { FAMILIES } from "../../src/stats/families.ts";
import { dashboardQueries, grafana, namesIn, rules, seriesNames } from "../lib/dashboard.ts";

Deno.test("conf/grafana.json, conf/alerts.yml: every name is one that /metrics has, with its labels", () => {
  const known = new Map(
    FAMILIES.flatMap((family) => seriesNames(family).map((name) => [name, family] as const)),
  );
  const recorded = new Set(rules().flatMap(({ record }) => record === undefined ? [] : [record]));
  const expressions = [...dashboardQueries(), ...rules().map(({ expr }) => expr)];
  ok(expressions.length > 60);
  for (const expression of expressions) {
    const names = namesIn(expression);
    ok(names.length > 0, expression);
    for (const { name, labels } of names) {
      if (name === "up" || recorded.has(name)) continue;
      const family = known.get(name);
      ok(family !== undefined, `${name} is none of the metrics, in: ${expression}`);
      for (const label of labels) {
        ok(["job", "instance", ...family.labels].includes(label), `${name} has no label ${label}`);
      }
    }
  }
});

Deno.test("conf/grafana.json: each panel has a place of its own, a data source to choose, and something to show", () => {
  const { panels, templating } = grafana();
  strictEqual(new Set(panels.map(({ id }) => id)).size, panels.length);
  strictEqual(templating.list[0]!.type, "datasource");
  const taken = new Set<string>();
  for (const { type, title, gridPos, targets = [], datasource } of panels) {
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        ok(x < 24 && !taken.has(`${x} ${y}`), `${title} overlaps another panel`);
        taken.add(`${x} ${y}`);
      }
    }
    if (type === "row") continue;
    ok(targets.length > 0, title);
    deepStrictEqual(datasource, { type: "prometheus", uid: "${datasource}" });
  }
});

Deno.test("conf/alerts.yml: each alert has a severity, and says what to look at", () => {
  const alerts = rules().filter(({ alert }) => alert !== undefined);
  ok(alerts.length >= 10);
  for (const { alert, labels, annotations } of alerts) {
    ok(["critical", "warning"].includes(labels?.severity ?? ""), `${alert}`);
    ok(annotations?.summary && annotations.description, `${alert}`);
  }
});
