/** Numbers for people: a few digits that stay where they are, and the unit. */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const TENTHS = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
/** What is not known. */
export const UNKNOWN = "–";

/** Every digit. */
export const count = (value: number | null | undefined): string =>
  value === null || value === undefined ? UNKNOWN : WHOLE.format(value);

/** Of something a second: tenths below 10. */
export function rate(value: number | null | undefined): string {
  if (value === null || value === undefined) return UNKNOWN;
  if (value === 0) return "0";
  return value < 9.95 ? TENTHS.format(value) : WHOLE.format(value);
}

/** "850 µs", "1.23 ms", "45.6 ms", "2.10 s". */
export function span(us: number | null | undefined): string {
  if (us === null || us === undefined) return UNKNOWN;
  if (us < 999.5) return `${Math.round(us)} µs`;
  if (us < 999_500) return `${three(us / 1000)} ms`;
  return `${three(us / 1_000_000)} s`;
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return UNKNOWN;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let left = value;
  while (left >= 1000 && unit < units.length - 1) {
    left /= 1024;
    unit++;
  }
  return unit === 0 ? `${left} B` : `${three(left)} ${units[unit]}`;
}

/** For axes, where room is short: 1.2k, 3M. */
export function short(value: number): string {
  if (value >= 1e9) return `${trim(value / 1e9)}G`;
  if (value >= 1e6) return `${trim(value / 1e6)}M`;
  return value >= 1e4 ? `${trim(value / 1e3)}k` : trim(value);
}

/** Of this day in the reader's zone; `at` in ms since the epoch. */
export const time = (at: number): string => new Date(at).toLocaleTimeString("en-GB");

/** "2026-11-29". */
export const date = (at: number): string => new Date(at).toISOString().slice(0, 10);

/** "12 s", "3 min", "2 h", "3 days". */
export function lasting(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 172_800_000 ? `${Math.round(ms / 3_600_000)} h` : `${Math.floor(ms / 86_400_000)} days`;
}

/** Three digits that count. */
const three = (value: number): string => value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
const trim = (value: number): string => String(Math.round(value * 100) / 100);
