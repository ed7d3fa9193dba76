import MarkdownIt, { type Token } from "markdown-it";
import { type ComponentChild, h } from "preact";
import { Copy } from "../ui/copy.tsx";

const md = new MarkdownIt({ html: false, linkify: true });
md.validateLink = (url) => /^(?:https?:\/\/|mailto:)/i.test(url.trim());
// Hosts are shown as they are asked for: letters that look like others stay in their ASCII form.
md.normalizeLinkText = (url) => url;

/** Headings stand below those of the page. */
const headings: Readonly<Record<string, string>> = { h1: "h3", h2: "h4", h3: "h5", h4: "h6", h5: "h6", h6: "h6" };
const tags = new Set(["p", "blockquote", "ul", "ol", "li", "table", "thead", "tbody", "tr", "th", "td", "em", "strong", "s"]);

function textIn(tokens: readonly Token[] | null): string {
  return (tokens ?? []).map((token) => (token.children === null ? token.content : textIn(token.children))).join("");
}

/** A link that shows its host, unless its text begins with it. */
function link(href: string, children: ComponentChild[], text: string): ComponentChild {
  let host = "";
  let address = href;
  try {
    const url = new URL(href);
    address = url.href;
    host = url.protocol === "mailto:" ? decodeURIComponent(url.pathname) : url.host;
  } catch {
    return h("span", null, children);
  }
  const isShown = text.replace(/^(?:https?:\/\/|mailto:)/i, "").startsWith(host);
  return (
    <a href={address} target="_blank" rel="noopener noreferrer nofollow">
      {children}
      {!isShown && <span class="md-host"> ({host})</span>}
    </a>
  );
}

function codeBlock({ content, info }: Token): ComponentChild {
  return (
    <div class="md-code">
      <div class="row spread">
        <span class="meta">{info.trim().split(/\s+/)[0]}</span>
        <Copy text={content} />
      </div>
      <pre tabIndex={0}>
        <code>{content}</code>
      </pre>
    </div>
  );
}

function leaf(token: Token): ComponentChild {
  switch (token.type) {
    case "text":
    case "text_special":
      return token.content;
    case "softbreak":
      return "\n";
    case "hardbreak":
      return <br />;
    case "code_inline":
      return <code>{token.content}</code>;
    case "fence":
    case "code_block":
      return codeBlock(token);
    case "hr":
      return <hr />;
    case "image": {
      // Nothing is loaded from elsewhere: an image is a link to it.
      const source = String(token.attrGet("src") ?? "");
      const text = textIn(token.children);
      return link(source, [`Image: ${text}`], `Image: ${text}`);
    }
    case "inline":
      return nodesOf(token.children ?? []);
    default:
      return token.content;
  }
}

function attributesOf(token: Token): Record<string, string | number> {
  if (token.tag === "ol") {
    const start = Number(token.attrGet("start") ?? 1);
    return start === 1 ? {} : { start };
  }
  const align = /text-align:(left|center|right)/.exec(String(token.attrGet("style") ?? ""))?.[1];
  return align === undefined ? {} : { class: `md-${align}` };
}

interface Open {
  readonly token: Token | undefined;
  readonly children: ComponentChild[];
  text: string;
}

function close({ token, children, text }: Open): ComponentChild {
  if (token === undefined || token.hidden) return children;
  if (token.type === "link_open") return link(String(token.attrGet("href") ?? ""), children, text);
  const tag = headings[token.tag] ?? token.tag;
  if (token.type === "table_open")
    return h(
      "div",
      { class: "table-box", tabIndex: 0, role: "region", "aria-label": "Table" },
      h("table", { class: "table" }, children),
    );
  return tags.has(token.tag) || token.tag in headings ? h(tag, attributesOf(token), children) : children;
}

/** Tokens as nodes: text stays text, and no tag comes from the text. */
function nodesOf(tokens: readonly Token[]): ComponentChild[] {
  const stack: Open[] = [{ token: undefined, children: [], text: "" }];
  const top = () => stack.at(-1) as Open;
  for (const token of tokens) {
    if (token.nesting === 1) stack.push({ token, children: [], text: "" });
    else if (token.nesting === -1 && stack.length > 1) {
      const ended = stack.pop() as Open;
      top().children.push(close(ended));
      top().text += ended.text;
    } else if (token.nesting === 0) {
      top().children.push(leaf(token));
      top().text += token.content;
    }
  }
  while (stack.length > 1) {
    const ended = stack.pop() as Open;
    top().children.push(close(ended));
  }
  return top().children;
}

/** A text as nodes. */
export function renderMarkdown(text: string): ComponentChild[] {
  return nodesOf(md.parse(text, {}));
}

/** The lines before a line, in characters. */
function offsetOf(text: string, line: number): number {
  let at = 0;
  for (let i = 0; i < line; i += 1) {
    const next = text.indexOf("\n", at);
    if (next === -1) return text.length;
    at = next + 1;
  }
  return at;
}

/** Longest block that is parsed again with each piece, in characters: a long one stays plain until the text ends. */
const growingUpTo = 16_000;

/**
 * Renders a text that grows: blocks that are followed by another are final and are not parsed again. The end of the
 * text is rendered as a whole by `renderMarkdown`, for definitions of links that came late.
 */
export class GrowingMarkdown {
  #text = "";
  #done = 0;
  #nodes: ComponentChild[] = [];

  /** The nodes of the text so far. */
  render(text: string): ComponentChild[] {
    if (!text.startsWith(this.#text)) {
      this.#done = 0;
      this.#nodes = [];
    }
    this.#text = text;
    const rest = text.slice(this.#done);
    if (rest.length > growingUpTo) return [...this.#nodes, <div class="md-plain">{rest}</div>];
    const tokens = md.parse(rest, {});
    const starts = tokens.flatMap((token, i) => (token.level === 0 && token.nesting !== -1 && token.map !== null ? [i] : []));
    const last = starts.at(-1) ?? 0;
    if (starts.length > 1) {
      this.#nodes = [...this.#nodes, ...nodesOf(tokens.slice(0, last))];
      this.#done += offsetOf(rest, tokens[last]?.map?.[0] ?? 0);
    }
    return [...this.#nodes, ...nodesOf(tokens.slice(last))];
  }
}
