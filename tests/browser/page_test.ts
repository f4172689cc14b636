/** The admin page in a real browser, in front of real servers. */
import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import type { Browser } from "playwright-core";
import { type Admin, startAdmin } from "../lib/admin.ts";
import { BrowserPage, type PageOptions, startBrowser } from "../lib/browser.ts";
import { certificate } from "../lib/certificates.ts";
import type { RawClient } from "../lib/client.ts";
import { Fixture } from "../lib/fixture.ts";
import { poll } from "../lib/poll.ts";
import { run } from "../lib/process.ts";
import { compiled, ROOT } from "../lib/repo.ts";
import { poolYml } from "../lib/servers.ts";

let browser: Browser;
Deno.test.beforeAll(async () => {
  browser = await startBrowser();
});
Deno.test.afterAll(async () => {
  await browser.close();
});

/** The browser's pipes are the file's, not a test's. */
function test(name: string, run: (f: Fixture) => Promise<void>): void {
  Deno.test({
    name,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      await using f = new Fixture();
      await run(f);
    },
  });
}

async function open(f: Fixture, admin: Admin, options: PageOptions = {}): Promise<BrowserPage> {
  const page = f.add(await BrowserPage.open(browser, `http://127.0.0.1:${admin.port}/`, options));
  await poll(
    async () => await page.text("#status") === "Live" && await page.text("#clock") !== "",
    "the page",
  );
  return page;
}

/** Requests without end, until `stop` or the end of the test. Errors are answers too. */
function load(f: Fixture, client: RawClient): { stop: () => Promise<void> } {
  let stopped = false;
  const done = (async () => {
    for (let k = 0; !stopped; k++) {
      await client.command("SET", `key:${k % 500}`, "x".repeat(20));
      await client.command("GET", `key:${(k * 7) % 500}`);
    }
  })();
  const stop = async () => {
    stopped = true;
    await done;
  };
  f.add({ [Symbol.asyncDispose]: stop });
  return { stop };
}

/** Opens what the page knows of one server. */
async function openDetails(page: BrowserPage, server: string): Promise<void> {
  await page.page.locator(`#servers button.link:text-is("${server}")`).click();
  await page.page.locator("#details-body dd").first().waitFor();
}

/** Waits until all that stands in `list` as counted is what the statistics port says. */
async function sameCounters(page: BrowserPage, list: string, said: Record<string, unknown>): Promise<void> {
  const counters = Object.entries(said).filter(([, value]) => typeof value === "number");
  ok(counters.length >= 5);
  let wrong: string[] = [];
  await poll(async () => {
    wrong = [];
    for (const [name, value] of counters) {
      const shown = await page.number(`${list} [data-counter="${name}"]`);
      if (shown !== value) wrong.push(`${name} is ${value}, shown as ${shown}`);
    }
    return wrong.length === 0;
  }, () => wrong.join("; "));
}

/** A server's state in the table. */
const stateOf = (page: BrowserPage, server: string): Promise<string> =>
  page.text(`#servers tr:has(button.link:text-is("${server}")) .state`);

test("under load the numbers move; at rest they are those of the statistics port to the digit", async (f) => {
  const servers = [await f.redis(), await f.redis(), await f.redis()];
  const lines = servers.map(({ address }, k) => `${address}:1 ${["one", "two", "three"][k]}`);
  const { cert, key } = certificate({ name: "proxy", days: 9 });
  Deno.writeTextFileSync(`${f.dir}/proxy.crt`, cert);
  Deno.writeTextFileSync(`${f.dir}/proxy.key`, key);
  const yml = poolYml({
    alpha: { servers: lines },
    secure: { servers: lines, tls: `{ certificate: ${f.dir}/proxy.crt, key: ${f.dir}/proxy.key }` },
  });
  const { proxy, admin } = await startAdmin(f, "compiled", yml, { process: ["workers: 2"] });
  const page = await open(f, admin);
  await poll(async () => await page.text("#certificates-warning") !== "", "a warning");
  match(await page.text("#certificates-warning"), /proxy\.crt \(tls of secure\) ends in [89] days\.$/);
  match(await page.text("#certificates .trouble"), /^\d{4}-\d\d-\d\d, in [89] days$/);
  const rate = `#pools tr[data-pool="alpha"] td:nth-of-type(2)`;
  const total = `#pools tr[data-pool="alpha"] td:nth-of-type(8)`;
  strictEqual(await page.number(total), 0);
  const loaded = load(f, await f.client(proxy));
  await poll(async () => await page.number(rate) > 0, "requests a second");
  const before = await page.number(total);
  await poll(async () => await page.number(total) > before, "more requests");
  await loaded.stop();

  const document = (await proxy.stats() as any).alpha;
  const stats = await admin.json("/api/stats");
  const requests = stats.pools[0].counters.requests_total;
  ok(requests > 0);
  await poll(async () => await page.number(total) === requests, `${requests} requests`);
  await poll(async () => await page.text(rate) === "0", "no requests a second");
  await page.page.locator("details summary").click();
  await sameCounters(page, "#pool-counters", document);
  for (const name of ["one", "two", "three"]) {
    await openDetails(page, name);
    await sameCounters(page, "#details-body", document[name]);
    await page.page.keyboard.press("Escape");
  }
  page.blameless();
});

test("a server that is killed is shown, with what has happened, and so is its return", async (f) => {
  const servers = [await f.redis(), await f.redis()];
  const yml = poolYml({
    alpha: {
      servers: servers.map(({ address }, k) => `${address}:1 ${["one", "two"][k]}`),
      auto_eject_hosts: true,
      server_failure_limit: 1,
      server_retry_timeout: 200,
    },
  });
  const { proxy, admin } = await startAdmin(f, "compiled", yml);
  const page = await open(f, admin);
  await poll(async () => await stateOf(page, "two") === "live", "it to be live");
  const loaded = load(f, await f.client(proxy));
  await servers[1]!.crash();
  await poll(async () => await stateOf(page, "two") === "ejected", "it to be shown as ejected");
  await poll(async () => (await page.texts(`#events [data-tone="warn"]`)).includes("ejected"), "the event");
  match(await page.text("#pools"), /1 of 2 live/);
  match(await page.text("#strip-note"), /two ejected/);
  await openDetails(page, "two");
  ok((await page.texts("#details-body dd")).some((text) => text.startsWith("ejected")));
  await page.page.keyboard.press("Escape");
  await servers[1]!.start();
  await poll(async () => await stateOf(page, "two") === "live", "it to be shown as live");
  await poll(async () => (await page.texts("#events td")).includes("returned"), "the event");
  await loaded.stop();
  page.blameless();
});

test("it says when what it shows is old, and when it is not any more", async (f) => {
  const yml = poolYml({ alpha: { servers: [await f.redis()] } });
  const { proxy, admin } = await startAdmin(f, "compiled", yml);
  const page = await open(f, admin);
  strictEqual(await page.page.locator("#stale").isVisible(), false);
  proxy.kill("SIGSTOP");
  await poll(async () => await page.page.locator("#stale").isVisible(), "the warning");
  strictEqual(await page.text("#status"), "Stale");
  match(await page.text("#stale"), /fallen silent.* The numbers are of \d\d:\d\d:\d\d, \d+ s ago/s);
  proxy.kill("SIGCONT");
  await poll(async () => await page.text("#status") === "Live", "the page to live again");
  strictEqual(await page.page.locator("#stale").isVisible(), false);
  page.blameless();
  await proxy.stop();
  await poll(async () => await page.text("#status") === "Stale", "the page to know that the proxy has gone");
  await poll(async () => /does not answer|broke|ended/.test(await page.text("#stale-why")), "the reason");
});

test("the key box says where a key lives as `route` does", async (f) => {
  const servers = [await f.redis(), await f.redis(), await f.redis()];
  const lines = servers.map(({ address }, k) => `${address}:1 ${["one", "two", "three"][k]}`);
  const yml = poolYml({ alpha: { hash_tag: '"{}"', servers: lines } });
  const { proxy, admin } = await startAdmin(f, "compiled", yml);
  const page = await open(f, admin);
  for (const key of ["user:1000", "{user:7}:name", "ключ", "a b"]) {
    await page.page.locator("#key").fill(key);
    await page.page.keyboard.press("Enter");
    await poll(async () => await page.text(`#key-out [data-fact="key"]`) === key, `an answer for ${key}`);
    const { stdout } = await run(await compiled(), ["route", "-c", proxy.file, "--pool", "alpha", key]);
    const [, , server, address] = stdout.trim().split("\t");
    deepStrictEqual(
      [await page.text(`#key-out [data-fact="server"]`), await page.text(`#key-out [data-fact="address"]`)],
      [server, address],
    );
  }
  page.blameless();
});

test("the plan box says what moves as `plan` does, and the file is reloaded from here", async (f) => {
  const servers = [await f.redis(), await f.redis(), await f.redis()];
  const lines = servers.map(({ address }, k) => `${address}:1 ${["one", "two", "three"][k]}`);
  const { proxy, admin } = await startAdmin(f, "compiled", poolYml({ alpha: { servers: lines } }));
  const page = await open(f, admin);
  const next = Deno.readTextFileSync(proxy.file).replace(
    "    - ",
    `    - ${servers[0]!.address}x:1 four\n    - `,
  );
  const file = `${f.dir}/next.yml`;
  Deno.writeTextFileSync(file, next);
  const { stdout } = await run(await compiled(), ["plan", proxy.file, file]);
  match(stdout, /of the keys move|of all keys move/);
  await page.page.locator("#plan-text").fill(next);
  await page.page.locator("#plan-form .main").click();
  await poll(async () => await page.text("#plan-words") !== "", "the plan");
  strictEqual(await page.text("#plan-words"), stdout.trim());
  strictEqual(await page.page.locator("#plan-out svg rect").count() > 4, true);

  const broken = `${f.dir}/broken.yml`;
  Deno.writeTextFileSync(broken, "alpha:\n  listen: nowhere\n");
  await page.page.locator("#plan-file").setInputFiles(broken);
  await poll(async () => /listen/.test(await page.text("#plan-out .wrong")), "what is wrong with it");

  // What was planned becomes the file, and is reloaded from here.
  Deno.writeTextFileSync(proxy.file, next);
  await page.page.locator("#reload").click();
  await page.page.locator("#ask .main").click();
  await poll(async () => await stateOf(page, "four") !== "", "the new server");
});

test("by keyboard alone: a server is ejected after a question, and brought back by Undo", async (f) => {
  const servers = [await f.redis(), await f.redis()];
  const lines = servers.map(({ address }, k) => `${address}:1 ${["one", "two"][k]}`);
  const { admin } = await startAdmin(f, "compiled", poolYml({ alpha: { servers: lines } }));
  const page = await open(f, admin);
  await poll(async () => await stateOf(page, "one") === "live", "it to be live");
  await page.page.keyboard.press("Tab");
  await page.page.keyboard.press("Enter");
  await page.pressUntil("Tab", `[aria-label="Eject one"]`);
  await page.page.keyboard.press("Enter");
  await poll(async () => await page.page.locator("#ask").isVisible(), "the question");
  await page.page.keyboard.press("Escape");
  await poll(async () => !await page.page.locator("#ask").isVisible(), "no question");
  strictEqual(await stateOf(page, "one"), "live");
  await page.page.keyboard.press("Enter");
  await poll(async () => await page.page.locator("#ask .main:focus").count() === 1, "the question again");
  match(await page.text("#ask"), /Eject one of alpha\?.*of the keys|Eject one of alpha\?.*%/s);
  await page.page.keyboard.press("Enter");
  await poll(async () => await stateOf(page, "one") === "ejected", "it to be ejected");
  strictEqual((await admin.json("/api/pools")).pools[0].servers[0].state, "ejected");
  // An answer that is shared is not from before that.
  strictEqual((await admin.json("/api/pools?max_age_ms=10000")).pools[0].servers[0].state, "ejected");
  await page.page.locator("#undo").waitFor();
  await page.pressUntil("Tab", "#undo");
  await page.page.keyboard.press("Enter");
  await poll(async () => await stateOf(page, "one") === "live", "it to be back");
  strictEqual((await admin.json("/api/pools")).pools[0].servers[0].state, "live");

  // Details, by name, closed by Escape; focus comes back.
  await page.pressUntil("Shift+Tab", `#servers button.link`);
  await page.page.keyboard.press("Enter");
  await poll(async () => await page.page.locator("#details").isVisible(), "details");
  await page.page.keyboard.press("Escape");
  strictEqual(await page.page.locator("#servers button.link:focus").count(), 1);
  // Another theme.
  await page.pressUntil("Shift+Tab", "#theme");
  await page.page.keyboard.press("Enter");
  strictEqual(await page.page.locator("html").getAttribute("data-theme"), "light");
  await page.page.keyboard.press("Enter");
  strictEqual(await page.page.locator("html").getAttribute("data-theme"), "dark");
  page.blameless();
});

test("200 servers, two themes and a phone: quick to scroll, nothing for axe to find", async (f) => {
  const redis = await f.redis();
  const servers = Array.from({ length: 200 }, (_, k) => `${redis.address}:1 cache-${1000 + k}`);
  const yml = poolYml({
    sessions: { servers: [`${redis.address}:1 one`, `${redis.address}:1 two`] },
    many: { servers },
  });
  const { proxy, admin } = await startAdmin(f, "compiled", yml);
  const loaded = load(f, await f.client(proxy.targets[0]!));
  const axe = Deno.readTextFileSync(`${ROOT}/node_modules/axe-core/axe.min.js`);
  /** What axe has found, a line each. */
  const found = async (page: BrowserPage): Promise<string[]> => {
    await page.page.evaluate(axe);
    return await page.page.evaluate(
      `axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
        violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => id + ": " + html.slice(0, 200))))`,
    );
  };
  for (const dark of [false, true]) {
    const page = await open(f, admin, { dark });
    const name = dark ? "dark" : "light";
    await page.page.locator("#pools button", { hasText: "sessions" }).click();
    await poll(async () => await page.text("#pool-name") === "sessions", "the pool");
    await page.picture(name);
    deepStrictEqual(await found(page), [], name);
    await page.page.locator("#pools button", { hasText: "many" }).click();
    await poll(async () => await page.text("#server-count") === "200", "200 servers");
    await page.picture(`200-${name}`);
    if (dark) deepStrictEqual(await found(page), [], "200 servers");
    page.blameless();
    if (dark) continue;
    const rows = page.page.locator("#servers tbody tr:not(.space)");
    ok(await rows.count() < 100, `${await rows.count()} rows`);
    await page.page.locator("#servers .scroll").evaluate((element: any) => element.scrollTop = 1e6);
    await poll(async () => (await rows.last().textContent() ?? "").includes("cache-1199"), "the last one");
    await page.page.locator("#find-server").fill("1042");
    await poll(async () => await rows.count() === 1, "the one that is looked for");
    await openDetails(page, "cache-1042");
    deepStrictEqual(await found(page), [], "details");
    page.blameless();
  }
  const phone = await open(f, admin, { width: 390, height: 844 });
  await poll(async () => await phone.text("#pool-name") !== "–", "a pool");
  strictEqual(await phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), true);
  await phone.picture("phone");
  deepStrictEqual(await found(phone), [], "phone");
  phone.blameless();
  await loaded.stop();
});

test("on deno run: numbers move, a key is explained, a server is ejected", async (f) => {
  const servers = [await f.redis(), await f.redis()];
  const lines = servers.map(({ address }, k) => `${address}:1 ${["one", "two"][k]}`);
  const { proxy, admin } = await startAdmin(f, "deno", poolYml({ alpha: { servers: lines } }));
  const page = await open(f, admin);
  const loaded = load(f, await f.client(proxy));
  const rate = `#pools tr[data-pool="alpha"] td:nth-of-type(2)`;
  await poll(async () => await page.number(rate) > 0, "requests a second");
  await loaded.stop();
  await page.page.locator("#key").fill("user:1000");
  await page.page.keyboard.press("Enter");
  await poll(async () => await page.text(`#key-out [data-fact="key"]`) === "user:1000", "an answer");
  ok(["one", "two"].includes(await page.text(`#key-out [data-fact="server"]`)));
  await admin.post("/api/servers/two/eject?pool=alpha");
  await poll(async () => await stateOf(page, "two") === "ejected", "it to be shown as ejected");
  page.blameless();
});
