/** The admin side speaks TLS: who is let in, what is said of the others, its certificate changed, and subcommands that ask it. */
import { match, ok, rejects, strictEqual } from "node:assert/strict";
import { adminYml } from "../lib/admin.ts";
import { certificate, type Issued } from "../lib/certificates.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { freePort } from "../lib/ports.ts";
import { run } from "../lib/process.ts";
import { command, poolYml } from "../lib/servers.ts";

for (const subject of ["compiled", "deno"] as const) {
  Deno.test(`${subject}: the admin side speaks TLS, asks for certificates, and takes new ones`, async () => {
    await using f = new Fixture();
    const [ca, other] = [certificate({ name: "ca", ca: true }), certificate({ name: "other", ca: true })];
    const own = certificate({ name: "admin.internal", by: ca });
    const visitor = certificate({ name: "visitor", by: ca });
    const files = { "ca.crt": ca.cert, "v.crt": visitor.cert, "v.key": visitor.key };
    const show = ({ cert, key }: Issued) => {
      Deno.writeTextFileSync(`${f.dir}/adm.key`, key);
      Deno.writeTextFileSync(`${f.dir}/adm.crt`, cert);
    };
    for (const [name, text] of Object.entries(files)) Deno.writeTextFileSync(`${f.dir}/${name}`, text);
    show(own);
    const port = freePort();
    const keys = `certificate: ${f.dir}/adm.crt, key: ${f.dir}/adm.key, ca: ${f.dir}/ca.crt`;
    const yml = adminYml(port, [`admin_tls: { ${keys}, client_certificates: required }`]) +
      poolYml({ alpha: { servers: [await f.redis()] } });
    const proxy = await f.proxy(subject, yml);
    await poll(() => proxy.log.includes(`admin on https://127.0.0.1:${port}`), "the admin side");

    const get = async (authority: Issued, shown: Issued | null, path = "/readyz") => {
      using client = Deno.createHttpClient({ caCerts: [authority.cert], ...shown ?? {} });
      const response = await fetch(`https://127.0.0.1:${port}${path}`, { client });
      return { status: response.status, text: await response.text() };
    };
    strictEqual((await get(ca, visitor)).status, 200);
    match(
      (await get(ca, visitor, "/metrics")).text,
      /ringmaster_tls_certificate_expiry_timestamp_seconds\{pool="",key="admin_tls",file=".*adm.crt"\} \d+/,
    );
    ok((await get(ca, visitor, "/api/pools")).text.length < 64 * 1024 + 1);
    await rejects(get(ca, null));
    await rejects(get(ca, certificate({ name: "stranger", by: other })));
    await rejects(get(other, visitor));
    await rejects(fetch(`http://127.0.0.1:${port}/readyz`));
    await poll(
      () => proxy.log.match(/admin_tls: handshake with client .* failed: /g)?.length ?? 0 >= 3,
      "what was wrong in the log",
    );

    const ask = async (name: string, ...args: string[]) => {
      const [program, ...rest] = await command(subject);
      return await run(program!, [...rest, name, ...args]);
    };
    const admin = ["--admin", `127.0.0.1:${port}`];
    const shown = ["--cert-file", `${f.dir}/v.crt`, "--key-file", `${f.dir}/v.key`];
    const knows = ["--ca-file", `${f.dir}/ca.crt`];
    strictEqual((await ask("health", ...admin, ...knows, ...shown)).code, 0);
    strictEqual((await ask("health", ...admin, ...knows)).code, 1);
    const plainly = await ask("health", ...admin);
    strictEqual(plainly.code, 1);
    match(
      plainly.stderr,
      /health: who listens there has not answered as an admin side does: .* speaks TLS \(--ca-file/,
    );
    if (subject === "compiled") {
      // Its own certificate, known by its file.
      const health = await ask("health", "-c", proxy.file);
      strictEqual(health.code, 0, health.stderr);
      const top = await ask("top", "-c", proxy.file, "--once", "--json");
      strictEqual(JSON.parse(top.stdout).pools[0].name, "alpha", top.stderr);
      const client = await f.client(proxy);
      let tapped = false;
      const tap = ask("tap", ...admin, ...knows, ...shown, "--count", "1", "--json").then((said) => {
        tapped = true;
        return said;
      });
      await poll(async () => {
        await client.command("GET", "a");
        return tapped;
      }, "a request to be told");
      match((await tap).stdout, /"get"/i);
    }

    // Another authority's: who knew the first one sees that it is not his any more.
    show(certificate({ name: "admin.internal", by: other }));
    await poll(
      async () => (await get(other, visitor).catch(() => null))?.status === 200,
      "the other certificate",
    );
    await rejects(get(ca, visitor));
    match(proxy.log, /admin_tls: the files have changed, new connections use them/);
  });
}

Deno.test("subcommands know the admin side by its file, also the first that asks after that has been replaced", async () => {
  await using f = new Fixture();
  const show = ({ cert, key }: Issued) => {
    Deno.writeTextFileSync(`${f.dir}/adm.key`, key);
    Deno.writeTextFileSync(`${f.dir}/adm.crt`, cert);
  };
  show(certificate({ name: "first" }));
  const port = freePort();
  const proxy = await f.proxy(
    "compiled",
    adminYml(port, [`admin_tls: { certificate: ${f.dir}/adm.crt, key: ${f.dir}/adm.key }`]) +
      poolYml({ alpha: { servers: [await f.redis()] } }),
  );
  await poll(() => proxy.log.includes(`admin on https://127.0.0.1:${port}`), "the admin side");
  const [program, ...args] = await command("compiled");
  show(certificate({ name: "second" }));
  const health = await run(program!, [...args, "health", "-c", proxy.file]);
  strictEqual(health.code, 0, health.stderr);
});
