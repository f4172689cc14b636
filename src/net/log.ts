/** Where the proxy says what happened. Levels and their meaning are twemproxy's. */

export const EMERG = 0;
export const ALERT = 1;
export const CRIT = 2;
export const ERR = 3;
export const WARN = 4;
export const NOTICE = 5;
export const INFO = 6;
export const DEBUG = 7;

export interface Log {
  /** Lines above this level are not written. Check it before building a costly text. */
  level: number;
  write(level: number, text: string): void;
}
