/**
 * Secrets that stand elsewhere: `${NAME}` in place of a secret value is the variable NAME of the environment.
 *
 * The environment is given once, by whoever starts the process; without it (another thread that looks at a text) a reference stays as it is.
 */

const REFERENCE = /^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$/;

let environment: Readonly<Record<string, string | undefined>> | null = null;

/** From now on references are looked up here. */
export function useEnvironment(variables: Readonly<Record<string, string | undefined>>): void {
  environment = variables;
}

/** The text, or what it refers to; `missing`: there is no such variable, or it is empty. */
export function resolveSecret(text: string): { readonly text: string } | { readonly missing: string } {
  const name = environment === null ? undefined : REFERENCE.exec(text)?.[1];
  if (name === undefined) return { text };
  const value = environment![name];
  return value === undefined || value === "" ? { missing: name } : { text: value };
}
