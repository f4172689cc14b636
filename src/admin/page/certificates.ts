/// <reference lib="dom" />
/** Certificates in use, and a warning of those that end soon. */
import { byId, setText } from "./dom.ts";
import { date, lasting } from "./format.ts";
import type { CertificateShape, PoolsShape } from "./shapes.ts";
import { Table } from "./table.ts";

/** As the log warns of them. */
const WARN_MS = 14 * 86_400_000;
/** Those that are named in the warning. */
const NAMED_MAX = 3;

interface Row extends CertificateShape {
  /** "" = the admin side's. */
  readonly pool: string;
  readonly leftMs: number;
}

const table = new Table<Row>(
  "Certificates",
  [
    { id: "owner", title: "Of", looks: "mono", order: ownerOf, text: ownerOf },
    { id: "key", title: "Key", looks: "mono minor", text: ({ key }) => key },
    { id: "file", title: "File", looks: "mono wide", text: ({ file }) => file },
    {
      id: "ends",
      title: "Ends",
      looks: "number",
      order: ({ leftMs }) => -leftMs,
      fill: (cell, row) => {
        setText(cell, `${date(row.expires_at)}, ${leftOf(row)}`);
        cell.classList.toggle("trouble", row.leftMs < WARN_MS);
      },
    },
  ],
  ({ pool, key, file }) => `${pool} ${key} ${file}`,
);

function ownerOf({ pool }: Row): string {
  return pool === "" ? "admin" : pool;
}

function leftOf({ leftMs }: Row): string {
  return leftMs <= 0 ? `${lasting(-leftMs)} ago` : `in ${lasting(leftMs)}`;
}

/** Shows those of all pools, those that end first at the top; nothing where there are none. */
export function showCertificates({ at, certificates, pools }: PoolsShape): void {
  const rows = [{ name: "", certificates }, ...pools].flatMap((each) =>
    each.certificates.map((one): Row => ({ ...one, pool: each.name, leftMs: one.expires_at - at }))
  ).sort((a, b) => a.leftMs - b.leftMs);
  const box = byId("certificates");
  if (box.firstChild === null) box.append(table.element);
  table.set(rows);
  byId("certificates-part").hidden = rows.length === 0;
  const ends = rows.filter(({ leftMs }) => leftMs < WARN_MS);
  const named = ends.slice(0, NAMED_MAX).map((row) =>
    `${row.file} (${row.key} of ${ownerOf(row)}) ${row.leftMs <= 0 ? "has ended" : "ends"} ${leftOf(row)}`
  );
  const more = ends.length > NAMED_MAX ? [`${ends.length - NAMED_MAX} more`] : [];
  const warning = byId("certificates-warning");
  setText(warning, `${[...named, ...more].join("; ")}.`);
  warning.hidden = ends.length === 0;
}
