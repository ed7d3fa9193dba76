import type { BrowserContext, ConsoleMessage, Page } from "playwright-core";
import { startAllInOne } from "../e2e/all-in-one.ts";
import type { System } from "../e2e/system.ts";
import { openBrowser } from "./chromium.ts";

/** An account that the system knows. */
export interface Account {
  readonly email: string;
  readonly password: string;
  /** An access token of a session of its own. */
  readonly token: string;
}

/** A page of the console, with everything that went wrong on it. */
export interface WatchedPage {
  readonly page: Page;
  /**
   * Violations of the content policy, errors of scripts, and errors in the browser's console, except those that match.
   * A test asserts that there are none.
   */
  problems(...expected: RegExp[]): Promise<string[]>;
}

/** A browser with a profile of its own: another person, or another computer. */
export interface ConsoleBrowser {
  readonly context: BrowserContext;
  /** Opens a page below `/console/`. */
  open(path: string, size?: { width: number; height: number }): Promise<WatchedPage>;
  /** Opens a page and logs in on the way to it. */
  logIn(account: Account, path: string): Promise<WatchedPage>;
  close(): Promise<void>;
}

/** A system with the console, and browsers in front of it. */
export interface ConsoleStage {
  readonly system: System & { databaseUrl: string };
  readonly baseUrl: string;
  /** Whether the server tells its users' pages of changes. */
  readonly isLive: boolean;
  /** Makes an account; the first of a system is an admin where the environment says so. */
  register(email: string): Promise<Account>;
  /** A request of the API; throws for statuses from 400 on. */
  call<T>(method: string, path: string, token: string, body?: unknown): Promise<T>;
  openBrowser(): Promise<ConsoleBrowser>;
  stop(): Promise<void>;
}

declare global {
  interface Window {
    /** Violations of the content policy so far. */
    cspViolations?: string[];
  }
}

function watch(page: Page, absent: readonly string[]): WatchedPage {
  const found: string[] = [];
  page.on("pageerror", (error) => found.push(`script: ${error.message}`));
  page.on("console", (message: ConsoleMessage) => {
    const { url } = message.location();
    if (message.type() === "error" && !absent.some((path) => url.endsWith(path))) found.push(`console: ${message.text()} ${url}`);
  });
  return {
    page,
    async problems(...expected) {
      const violations = await page.evaluate(() => window.cspViolations ?? ["the page was not watched"]);
      const all = [...found, ...violations.map((text) => `policy: ${text}`)];
      return all.filter((text) => !expected.some((pattern) => pattern.test(text)));
    },
  };
}

/** Opens a browser in front of a server; errors of the paths in `absent` are not counted. */
export async function openConsoleBrowser(
  executable: string,
  baseUrl: string,
  absent: readonly string[] = [],
): Promise<ConsoleBrowser> {
  const { context, close } = await openBrowser(executable);
  await context.addInitScript(() => {
    window.cspViolations = [];
    document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sample }) => {
      window.cspViolations?.push(`${violatedDirective} ${blockedURI} ${sample}`);
    });
  });
  const open: ConsoleBrowser["open"] = async (path, size = { width: 1280, height: 900 }) => {
    const page = await context.newPage();
    await page.setViewportSize(size);
    const watched = watch(page, absent);
    await page.goto(`${baseUrl}/console/${path}`);
    return watched;
  };
  return {
    context,
    close,
    open,
    async logIn({ email, password }, path) {
      const watched = await open(`login?next=${encodeURIComponent(path)}`);
      await watched.page.getByLabel("Email").fill(email);
      await watched.page.getByLabel("Password").fill(password);
      await watched.page.getByRole("button", { name: "Log in" }).click();
      await watched.page.waitForURL(`${baseUrl}/console/${path}`);
      return watched;
    },
  };
}

/**
 * Starts a system in one process with a database of its own. No limits of requests, unless the environment sets them:
 * browsers in tests are quicker than people.
 */
export async function startConsoleStage(executable: string, env: Record<string, string> = {}): Promise<ConsoleStage> {
  const system = await startAllInOne({ RATE_LIMIT_ENABLED: "false", ...env });
  const { baseUrl } = system;
  // The console does without these where a server has none; the browser lists the question.
  const asked = await Promise.all(
    ["/v1/info", "/v1/events"].map(async (path) => ({ path, answer: await fetch(`${baseUrl}${path}`) })),
  );
  const absent = asked.filter(({ answer }) => answer.status === 404).map(({ path }) => path);
  const browsers: ConsoleBrowser[] = [];
  const call = async <T>(method: string, path: string, token: string, body?: unknown): Promise<T> => {
    const response = await fetch(`${baseUrl}${path}`, {
      method,
      headers: {
        ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = (await response.json()) as { data: T };
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
    return answer.data;
  };
  return {
    system,
    baseUrl,
    isLive: !absent.includes("/v1/events"),
    call,
    async register(email) {
      const account = { email, password: "correct-horse-battery" };
      await call("POST", "/v1/auth/register", "", { ...account, name: email.split("@")[0] });
      const { access_token: token } = await call<{ access_token: string }>("POST", "/v1/auth/login", "", account);
      return { ...account, token };
    },
    async openBrowser() {
      const browser = await openConsoleBrowser(executable, baseUrl, absent);
      browsers.push(browser);
      return browser;
    },
    async stop() {
      await Promise.all(browsers.map((browser) => browser.close()));
      await system.stop();
    },
  };
}
