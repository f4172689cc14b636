/**
 * A configuration file's mappings, lists and texts with their places, and nothing else: of YAML what a configuration needs.
 *
 *   text ──► plain? (plain_document.ts) ──► yes: Entry, Value, at once
 *                                       └─► no:  the YAML library (yaml_document.ts)
 *
 * No scalar has a type, `yes` is three letters. Flow style, anchors, aliases, `<<` and one leading `---` are welcome; twemproxy
 * refuses them.
 */
import { plainSteps } from "./plain_document.ts";
import type { ConfigDocument } from "./tree.ts";
import { lexSteps, YamlDocument } from "./yaml_document.ts";

/** Of a file that says nothing. */
export const NO_DOCUMENT: ConfigDocument = {
  faults: [],
  root: { kind: "nothing", place: { line: 1, column: 1 } },
  entries: () => [],
  items: () => [],
};

/** Most of the work of reading a file, in steps (ring/steps.ts). */
export function* documentSteps(text: string): Generator<number, ConfigDocument> {
  return (yield* plainSteps(text)) ?? new YamlDocument(text, yield* lexSteps(text));
}
