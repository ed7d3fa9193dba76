import type { ComponentChild } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Button } from "../ui/button.tsx";

type Renderer = typeof import("./render.tsx");
type Growing = InstanceType<Renderer["GrowingMarkdown"]>;

let renderer: Renderer | undefined;
let loading: Promise<Renderer> | undefined;
/** Longest text that is formatted without being asked, in characters. */
const formattedUpTo = 100_000;
const drawnEachMs = 100;

/** Loads the renderer ahead of the first text. */
export function loadMarkdown(): Promise<Renderer> {
  loading ??= import("./render.tsx").then((module) => {
    renderer = module;
    return module;
  });
  return loading;
}

/** The text at most ten times a second while it grows, and at once when it ends. */
function usePaced(text: string, isGrowing: boolean): string {
  const [shown, setShown] = useState(text);
  const latest = useRef(text);
  latest.current = text;
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => {
    if (!isGrowing) return;
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      setShown(latest.current);
    }, drawnEachMs);
  }, [text, isGrowing]);
  useEffect(() => () => clearTimeout(timer.current), []);
  return isGrowing ? shown : text;
}

/** A text of a model or a tool as Markdown; until the renderer is there, and above 100 kB, as it is. */
export function Markdown({ text, isGrowing = false }: { readonly text: string; readonly isGrowing?: boolean }) {
  const [isLoaded, setLoaded] = useState(renderer !== undefined);
  const [isWanted, setWanted] = useState(false);
  const growing = useRef<Growing>(undefined);
  const shown = usePaced(text, isGrowing);
  const isPlain = shown.length > formattedUpTo && !isWanted;
  useEffect(() => {
    if (!isLoaded) void loadMarkdown().then(() => setLoaded(true));
  }, [isLoaded]);
  const nodes = useMemo<ComponentChild[] | undefined>(() => {
    if (!isLoaded || isPlain || renderer === undefined) return undefined;
    if (!isGrowing) return renderer.renderMarkdown(shown);
    growing.current ??= new renderer.GrowingMarkdown();
    return growing.current.render(shown);
  }, [shown, isLoaded, isPlain, isGrowing]);
  if (nodes !== undefined) {
    return (
      <div class="md" dir="auto">
        {nodes}
      </div>
    );
  }
  return (
    <div class="md" dir="auto">
      <div class="md-plain">{shown}</div>
      {isPlain && (
        <Button small onClick={() => setWanted(true)}>
          Format
        </Button>
      )}
    </div>
  );
}
