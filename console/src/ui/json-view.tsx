import { useMemo, useState } from "preact/hooks";
import { bytesText } from "../format/money.ts";
import { isIndentable, jsonLines } from "../json/json-lines.ts";
import { visible } from "../json/visible.ts";
import { download, openRaw } from "./blobs.ts";
import { Button } from "./button.tsx";
import { Copy } from "./copy.tsx";

const stepLines = 200;
const stepChars = 64_000;

interface Shown {
  readonly lines: readonly { readonly key: string; readonly before: string; readonly rest: string }[];
  readonly isAll: boolean;
}

/** The first lines of JSON, within the limits; a line that is too long is cut. */
function indented(text: string, steps: number): Shown {
  const lines: { key: string; before: string; rest: string }[] = [];
  let chars = 0;
  for (const { indent, key, rest } of jsonLines(text)) {
    const left = stepChars * steps - chars;
    if (lines.length >= stepLines * steps || left <= 0) return { lines, isAll: false };
    const before = "  ".repeat(Math.min(indent, 40));
    lines.push({ before, key: visible(key), rest: visible(rest.slice(0, left)) });
    if (rest.length > left) return { lines, isAll: false };
    chars += key.length + rest.length;
  }
  return { lines, isAll: true };
}

/** The beginning of a text as it is. */
function plain(text: string, steps: number): Shown {
  let end = Math.min(text.length, stepChars * steps);
  let at = -1;
  for (let line = 0; line < stepLines * steps; line += 1) {
    at = text.indexOf("\n", at + 1);
    if (at === -1 || at >= end) break;
    if (line === stepLines * steps - 1) end = at;
  }
  return { lines: [{ before: "", key: "", rest: visible(text.slice(0, end)) }], isAll: end === text.length };
}

/** Properties of the viewer. */
export interface JsonViewProps {
  /** JSON or any other text, as it was stored. */
  readonly text: string;
  /** Names it for readers: `Arguments`. */
  readonly label: string;
  /** The name of the file to save, such as `arguments.json`. */
  readonly file?: string;
  /** Bytes that the server left out; `loadAll` gets the whole. */
  readonly truncatedBytes?: number;
  readonly loadAll?: () => Promise<string>;
}

/**
 * Shows JSON as its bytes are: cut after 200 lines or 64 kB, with more on demand; invisible characters are written as
 * escapes. Never one element for each token.
 */
export function JsonView({ text, label, file = "data.json", truncatedBytes = 0, loadAll }: JsonViewProps) {
  const [steps, setSteps] = useState(1);
  const [isRaw, setRaw] = useState(false);
  const canIndent = useMemo(() => truncatedBytes === 0 && isIndentable(text), [text, truncatedBytes]);
  const { lines, isAll } = useMemo(
    () => (canIndent && !isRaw ? indented(text, steps) : plain(text, steps)),
    [text, steps, canIndent, isRaw],
  );
  const whole = async () => (truncatedBytes > 0 && loadAll !== undefined ? await loadAll() : text);
  return (
    <div class="json">
      <pre class="json-text" tabIndex={0} role="region" aria-label={label}>
        {lines.map(({ before, key, rest }, i) => (
          <span key={i}>
            {before}
            {key !== "" && <span class="json-key">{key}</span>}
            {key !== "" && ": "}
            {rest}
            {"\n"}
          </span>
        ))}
      </pre>
      <div class="row json-actions">
        {!isAll && (
          <Button small onClick={() => setSteps(steps + 1)}>
            Show 64 kB more
          </Button>
        )}
        {truncatedBytes > 0 && <span class="meta">{bytesText(truncatedBytes)} more at the server</span>}
        {canIndent && (
          <Button small kind="quiet" onClick={() => setRaw(!isRaw)}>
            {isRaw ? "Form" : "Raw"}
          </Button>
        )}
        <Copy text={text} />
        {(!isAll || truncatedBytes > 0 || text.length > stepChars) && (
          <>
            <Button small kind="quiet" onClick={async () => openRaw(await whole())}>
              Open raw
            </Button>
            <Button small kind="quiet" onClick={async () => download(file, await whole())}>
              Download
            </Button>
          </>
        )}
      </div>
    </div>
  );
}
