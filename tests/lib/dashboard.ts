/** conf/grafana.json and conf/alerts.yml, and what their expressions ask for. */
import { parse } from "yaml";
import { sampleName } from "../../src/stats/exposition.ts";
import type { Family } from "../../src/stats/families.ts";
import { ROOT } from "./repo.ts";

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly datasource?: unknown;
  readonly targets?: readonly { readonly expr: string }[];
}

export interface Grafana {
  readonly panels: readonly Panel[];
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
  readonly templating: {
    readonly list: readonly { readonly type: string; readonly name: string; readonly definition?: string }[];
  };
}

export interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
  readonly labels?: { readonly severity?: string };
  readonly annotations?: { readonly summary?: string; readonly description?: string };
}

export function grafana(): Grafana {
  return JSON.parse(Deno.readTextFileSync(`${ROOT}/conf/grafana.json`));
}

/** Every query of the dashboard: panels, annotations, and what its variables are filled with. */
export function dashboardQueries(): string[] {
  const { panels, annotations, templating } = grafana();
  return [
    ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
    ...annotations.list.map(({ expr }) => expr),
    ...templating.list.flatMap(({ definition }) => {
      const selector = /^label_values\((.*), \w+\)$/.exec(definition ?? "")?.[1];
      return selector === undefined ? [] : [selector];
    }),
  ];
}

export function rules(): Rule[] {
  const { groups } = parse(Deno.readTextFileSync(`${ROOT}/conf/alerts.yml`)) as {
    groups: { rules: Rule[] }[];
  };
  return groups.flatMap((group) => group.rules);
}

/** What a family's series are called. */
export function seriesNames(family: Family): string[] {
  if (family.kind !== "histogram") return [sampleName(family)];
  return ["bucket", "sum", "count"].map((part) => `${family.name}_${part}`);
}

/** The series that an expression asks for, each with its selector as written, and the labels that it names. */
export function namesIn(expression: string): { name: string; selector: string; labels: string[] }[] {
  return [...expression.matchAll(/\b(?:ringmaster[_:]|process_)[\w:]*\b(\{[^}]*\})?|\bup\{[^}]*\}/g)].map((
    [selector],
  ) => ({
    name: /^[\w:]+/.exec(selector)![0],
    selector,
    labels: [...selector.matchAll(/([a-z_]+)(?:=~|!~|!=|=)"/g)].map((match) => match[1]!),
  }));
}
