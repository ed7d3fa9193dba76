import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";

/** The properties of a page: the fields of its path. The query is in `router/router.ts`. */
export interface PageProps {
  readonly params: Readonly<Record<string, string>>;
}

/** The head of a page: its one h1, which also names the window, a sentence with a number, and its acts. */
export function PageHead(props: {
  /** Short, for the window: `Runs`. */
  readonly title: string;
  /** The h1; the title unless given. */
  readonly heading?: ComponentChildren;
  /** The first line: what it is, what it costs, what there is to do. */
  readonly sentence?: ComponentChildren;
  readonly children?: ComponentChildren;
}) {
  const { title, heading, sentence, children } = props;
  useEffect(() => {
    document.title = `${title} · Turnwright`;
  }, [title]);
  return (
    <header class="page-head">
      <div class="page-head-text">
        <h1 tabIndex={-1}>{heading ?? title}</h1>
        {sentence !== undefined && <p class="meta">{sentence}</p>}
      </div>
      <div class="row">{children}</div>
    </header>
  );
}
