/** What a configuration file says, before anybody knows which keys there are: mappings, lists and texts, each with its place. */

export interface Place {
  readonly line: number;
  readonly column: number;
}

/**
 * What stands at a place: a text, a list, a mapping, or nothing (no value, or one that cannot be understood).
 * `empty`: it is written `[]` or `{}`. `node` is the document's own.
 */
export type Value =
  | { readonly kind: "text"; readonly place: Place; readonly text: string }
  | {
    readonly kind: "list";
    readonly place: Place;
    readonly items: readonly Value[];
    readonly empty: boolean;
  }
  | { readonly kind: "mapping"; readonly place: Place; readonly node: object; readonly empty: boolean }
  | { readonly kind: "nothing"; readonly place: Place };

export interface Entry {
  readonly key: string;
  readonly place: Place;
  readonly value: Value;
}

/** A mistake in the YAML itself. `broken`: the tree is not to be trusted from here on. */
export interface Fault extends Place {
  readonly key: string;
  readonly found: string;
  readonly expected: string;
  readonly broken: boolean;
}

/** One file's YAML. Reading it never throws; `faults` grows as it is read. */
export interface ConfigDocument {
  readonly faults: readonly Fault[];
  /** What stands at the top; nothing for an empty file. */
  readonly root: Value;
  /** The entries of a mapping in their order, merged ones (`<<`) last; a key that stands twice is there twice. */
  entries(value: Value): readonly Entry[];
  /** The items of a list, in their order. */
  items(value: Value): readonly Value[];
}
