/** Certificates for tests, made by openssl when they are asked for. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";

export interface Issued {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

export interface Wish {
  /** Common name, and the one DNS name; 127.0.0.1 and ::1 are named as well, unless `plainName`. */
  readonly name: string;
  /** Only the DNS name is in it. */
  readonly plainName?: boolean;
  /** The subject in place of /CN=name, as openssl takes it. */
  readonly subject?: string;
  /** The other names in place of those, as openssl takes them: "URI:urn:a,DNS:b". */
  readonly names?: string;
  /** Who signs; absent: itself. */
  readonly by?: Issued;
  /** May it sign others? */
  readonly ca?: boolean;
  /** When it ends, in days from now; negative: it has ended. Default 30. */
  readonly days?: number;
  /** When it begins, in days from now. Default: now. */
  readonly fromDays?: number;
}

let serial = 1000;

const CA_CONFIGURATION = `[ca]
default_ca = here
[here]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
[any]
commonName = supplied
`;

export function certificate(
  { name, plainName, by, ca, days = 30, fromDays, subject = `/CN=${name}`, names }: Wish,
): Issued {
  const dir = mkdtempSync(`${tmpdir()}/ringmaster-cert-`);
  const openssl = (...args: string[]) =>
    execFileSync("openssl", args, { cwd: dir, stdio: ["ignore", "ignore", "pipe"] });
  try {
    const others = names ?? (plainName ? `DNS:${name}` : `DNS:${name},IP:127.0.0.1,IP:::1`);
    const extensions = `subjectAltName=${others}\nbasicConstraints=CA:${
      ca || by === undefined ? "TRUE" : "FALSE"
    }\n`;
    const request = ["req", "-utf8", "-subj", subject, "-nodes", "-keyout", "key.pem", "-newkey", "ec"];
    request.push("-pkeyopt", "ec_paramgen_curve:prime256v1");
    const issued = () => ({
      cert: readFileSync(`${dir}/cert.pem`, "utf8"),
      key: readFileSync(`${dir}/key.pem`, "utf8"),
    });
    // One that signs itself, from now on, is one call: there are many.
    if (by === undefined && fromDays === undefined) {
      writeFileSync(
        `${dir}/req.cnf`,
        `[req]\ndistinguished_name=dn\nx509_extensions=ext\n[dn]\n[ext]\n${extensions}`,
      );
      const numbers = ["-days", String(days), "-set_serial", String(serial++)];
      openssl(...request, "-x509", "-config", "req.cnf", ...numbers, "-out", "cert.pem");
      return issued();
    }
    openssl(...request, "-new", "-out", "request.pem");
    writeFileSync(`${dir}/ext.cnf`, extensions);
    const signer = by === undefined ? ["-signkey", "key.pem"] : ["-CA", "ca.pem", "-CAkey", "ca.key"];
    if (by !== undefined) {
      writeFileSync(`${dir}/ca.pem`, by.cert);
      writeFileSync(`${dir}/ca.key`, by.key);
    }
    // Only `ca` knows when a certificate begins.
    if (fromDays !== undefined) {
      writeFileSync(`${dir}/index.txt`, "");
      writeFileSync(`${dir}/ca.cnf`, CA_CONFIGURATION);
      const day = (days: number) =>
        new Date(Date.now() + days * 86_400_000).toISOString().replace(/[-:T]|\..*/g, "") + "Z";
      openssl(
        ...["ca", "-batch", "-config", "ca.cnf", "-in", "request.pem", "-out", "cert.pem", "-notext"],
        ...["-create_serial", "-startdate", day(fromDays), "-enddate", day(days), "-extfile", "ext.cnf"],
        ...by === undefined
          ? ["-selfsign", "-keyfile", "key.pem"]
          : ["-cert", "ca.pem", "-keyfile", "ca.key"],
      );
      return issued();
    }
    openssl(
      ...["x509", "-req", "-in", "request.pem", "-out", "cert.pem", "-days", String(days)],
      ...["-set_serial", String(serial++), "-extfile", "ext.cnf", ...signer],
    );
    return issued();
  } finally {
    rmSync(dir, { recursive: true });
  }
}
