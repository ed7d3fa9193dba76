import type { ComponentChild, VNode } from "preact";
import { describe, expect, test } from "vitest";
import { GrowingMarkdown, renderMarkdown } from "./render.tsx";

interface Seen {
  readonly tag: string;
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** The elements of a tree, without calling components: their properties are walked as well. */
function elementsOf(child: ComponentChild, found: Seen[] = []): Seen[] {
  if (Array.isArray(child)) for (const one of child) elementsOf(one, found);
  else if (typeof child === "object" && child !== null) {
    const { type, props } = child as VNode<{ children?: ComponentChild }>;
    const { children, ...attributes } = props;
    if (typeof type === "string") found.push({ tag: type, attributes });
    elementsOf(children, found);
  }
  return found;
}

function textOf(child: ComponentChild): string {
  if (Array.isArray(child)) return child.map(textOf).join("");
  if (typeof child === "object" && child !== null) return textOf((child as VNode<{ children?: ComponentChild }>).props.children);
  return child === null || child === undefined || typeof child === "boolean" ? "" : String(child);
}

const tagsOf = (text: string) => elementsOf(renderMarkdown(text)).map(({ tag }) => tag);

describe("Markdown", () => {
  test("becomes elements of these few kinds", () => {
    const text = "# A\n\nb *c* **d** ~~e~~ `f`\n\n> g\n\n- h\n- i\n\n3. j\n\n```js\nk\n```\n\n| l |\n|--:|\n| m |\n\n---\n";
    const elements = elementsOf(renderMarkdown(text));
    const tags = new Set(elements.map(({ tag }) => tag));
    for (const tag of ["h3", "p", "em", "strong", "s", "code", "blockquote", "ul", "li", "ol", "pre", "table", "hr"])
      expect(tags).toContain(tag);
    expect(elements.find(({ tag }) => tag === "ol")?.attributes).toEqual({ start: 3 });
    expect(elements.find(({ tag }) => tag === "td")?.attributes).toEqual({ class: "md-right" });
  });

  test("keeps names with underscores and dollars as they are", () => {
    expect(tagsOf("snake_case_name costs $5 and $6")).toEqual(["p"]);
  });

  test.each([
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](java&#115;cript:alert(1))",
    "[a](java\tscript:alert(1))",
    "[a](\u0001javascript:alert(1))",
    "[a](data:text/html,<script>alert(1)</script>)",
    "[a](vbscript:msgbox(1))",
    "[a](file:///etc/passwd)",
    "[a](blob:http://a.test/1)",
    "[a](//evil.test/)",
    "[a](/console/session)",
    "[a](http:evil.test)",
    "![a](javascript:alert(1))",
    "![a](data:image/svg+xml,<svg onload=alert(1)>)",
    "<a href='javascript:alert(1)'>a</a>",
    "<javascript:alert(1)>",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "<svg/onload=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "a<br onclick=alert(1)>b",
    "[a]: javascript:alert(1)\n\n[a]",
    '[a](https://a.test/ "onmouseover=alert(1)")<b onclick=1>',
    "```<script>alert(1)</script>\n<script>\n```",
  ])("makes no link, no image and no element of %j that could run or load something", (text) => {
    for (const { tag, attributes } of elementsOf(renderMarkdown(text))) {
      expect(["p", "a", "span", "pre", "code", "div"]).toContain(tag);
      for (const name of Object.keys(attributes)) expect(name).toMatch(/^(?:class|tabIndex|href|target|rel)$/);
      if (tag === "a") expect(attributes.href).toMatch(/^(?:https?:\/\/|mailto:)/);
    }
  });

  test("shows an image as a link, and loads nothing", () => {
    const nodes = renderMarkdown("![cat](https://img.test/cat.png)");
    expect(elementsOf(nodes).map(({ tag }) => tag)).toEqual(["p", "a", "span"]);
    expect(textOf(nodes)).toBe("Image: cat (img.test)");
  });

  test.each([
    ["[order](https://pay.test/1)", "order (pay.test)"],
    ["https://pay.test/1", "https://pay.test/1"],
    ["[pay.test/1](https://pay.test/1)", "pay.test/1"],
    ["[https://bank.test](https://evil.test/)", "https://bank.test (evil.test)"],
    ["[bank](https://bаnk.test/)", "bank (xn--bnk-6cd.test)"],
    ["[write](mailto:a@b.test)", "write (a@b.test)"],
    ["[**pay.test**](https://evil.test/)", "pay.test (evil.test)"],
  ])("tells where a link leads: %s", (text, shown) => {
    const nodes = renderMarkdown(text);
    expect(textOf(nodes)).toBe(shown);
    const link = elementsOf(nodes).find(({ tag }) => tag === "a");
    expect(link?.attributes).toMatchObject({ target: "_blank", rel: "noopener noreferrer nofollow" });
  });
});

/** Texts that take other renderers seconds or minutes. */
const hostile: Readonly<Record<string, string>> = {
  emphasis: "*a_".repeat(20_000),
  stars: "*".repeat(40_000),
  "stars and letters": "*a".repeat(20_000),
  "nested strong": "**a *b ".repeat(10_000),
  brackets: "[".repeat(40_000),
  "opened links": "[a](".repeat(20_000),
  "links in links": "[a".repeat(20_000) + "](b)".repeat(20_000),
  images: "![".repeat(20_000),
  "nested quotes": `${">".repeat(20_000)}a`,
  "quotes on lines": "> ".repeat(50).concat("a\n").repeat(400),
  "nested lists": Array.from({ length: 300 }, (_one, i) => `${" ".repeat(i * 2)}- a`).join("\n"),
  backticks: Array.from({ length: 280 }, (_one, i) => "`".repeat(i + 1)).join(" "),
  "backticks alone": "`".repeat(40_000),
  "angle brackets": "<".repeat(40_000),
  autolinks: "<http://".repeat(5_000),
  "link texts": "http://a.test ".repeat(3_000),
  "mail addresses": "a@".repeat(20_000),
  dots: "www.".repeat(10_000),
  entities: "&#".repeat(20_000),
  tables: `|${"a|".repeat(2_000)}\n|${"-|".repeat(2_000)}\n|${"b|".repeat(2_000)}`,
  references: "[a]: b\n".repeat(6_000),
  escapes: "\\".repeat(40_000),
  tildes: "~~a".repeat(14_000),
};

describe("hostile Markdown", () => {
  test.each(Object.entries(hostile))("is rendered in time: %s", (_name, text) => {
    const before = process.cpuUsage();
    renderMarkdown(text);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1_000).toBeLessThan(2_000);
  });
});

describe("Markdown that grows", () => {
  const text =
    "# A\n\none *two*\nthree\n\n- a\n- b\n\n  c\n\n```js\nlet a;\n\nlet b;\n```\n\n| x |\n|---|\n| y |\n\nend [l](https://a.test/)";

  test("has the same elements at its end as the whole, whatever the steps", () => {
    for (const step of [1, 3, 7, 40]) {
      const growing = new GrowingMarkdown();
      let nodes: ComponentChild[] = [];
      for (let end = 0; end < text.length + step; end += step) nodes = growing.render(text.slice(0, end));
      expect(elementsOf(nodes)).toEqual(elementsOf(renderMarkdown(text)));
      expect(textOf(nodes)).toBe(textOf(renderMarkdown(text)));
    }
  });

  test("begins again with another text", () => {
    const growing = new GrowingMarkdown();
    growing.render("one\n\ntwo\n\nthree");
    expect(textOf(growing.render("four"))).toBe("four");
  });
});
