/**
 * A real browser, Debian's chromium, for tests of the admin page:
 *
 *   const page = f.add(await BrowserPage.open(browser, `http://127.0.0.1:${admin.port}/`));
 *   strictEqual(await page.text("#pool-name"), "alpha");
 *   page.blameless();
 *
 * It is asked through elements and keys, as a person would; nothing of it is downloaded (playwright-core brings no browser).
 */
import { deepStrictEqual } from "node:assert/strict";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { need, ROOT } from "./repo.ts";

/** Where pictures go; not committed. */
export const PICTURES = `${ROOT}/dist/page`;

export interface PageOptions {
  readonly dark?: boolean;
  readonly width?: number;
  readonly height?: number;
}

/** The user's name is often root where tests run, and /dev/shm small. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: need("chromium"),
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
  });
}

export class BrowserPage implements AsyncDisposable {
  /** What the browser complained about. */
  readonly complaints: string[] = [];
  /** What was asked of anybody but the proxy. */
  readonly elsewhere: string[] = [];

  private constructor(private readonly context: BrowserContext, readonly page: Page, origin: string) {
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(error.stack ?? error.message));
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(`${origin}/`) && !url.startsWith("data:")) this.elsewhere.push(url);
    });
  }

  static async open(browser: Browser, url: string, options: PageOptions = {}): Promise<BrowserPage> {
    const { dark = false, width = 1280, height = 900 } = options;
    const context = await browser.newContext({
      viewport: { width, height },
      colorScheme: dark ? "dark" : "light",
    });
    const page = new BrowserPage(context, await context.newPage(), new URL(url).origin);
    await page.page.goto(url);
    return page;
  }

  /** The text of the first element that is like that; "" if there is none. */
  async text(selector: string): Promise<string> {
    const found = this.page.locator(selector).first();
    return await found.count() === 0 ? "" : (await found.textContent() ?? "").trim();
  }

  /** The texts of all elements that are like that. */
  async texts(selector: string): Promise<string[]> {
    return (await this.page.locator(selector).allTextContents()).map((text) => text.trim());
  }

  /** A number as the page shows it, with all its digits; NaN if there is none. */
  async number(selector: string): Promise<number> {
    const text = await this.text(selector);
    return /^[\d,]+(\.\d+)?$/.test(text) ? Number(text.replaceAll(",", "")) : NaN;
  }

  /** Presses a key until what has the focus is like that. Throws after `most` times. */
  async pressUntil(key: string, selector: string, most = 200): Promise<void> {
    for (let times = 0; times < most; times++) {
      await this.page.keyboard.press(key);
      if (await this.page.locator(`${selector}:focus`).count() > 0) return;
    }
    throw new Error(`${selector} has no focus after ${most} times ${key}`);
  }

  async picture(name: string, whole = true): Promise<void> {
    Deno.mkdirSync(PICTURES, { recursive: true });
    await this.page.screenshot({ path: `${PICTURES}/${name}.png`, fullPage: whole });
  }

  /** No error and no warning in the console, nothing asked of anybody else. */
  blameless(): void {
    deepStrictEqual(this.complaints, []);
    deepStrictEqual(this.elsewhere, []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.context.close();
  }
}
