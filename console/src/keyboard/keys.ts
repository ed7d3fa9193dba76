import { useEffect, useRef } from "preact/hooks";
import { singleKeys } from "../preferences/preferences.ts";

/** The action of a key; returns `false` when it did nothing, so that the browser's own meaning holds. */
export type KeyAction = (event: KeyboardEvent) => unknown;

/** Keys and what they do: `j`, `Shift+x`, `?`, `Escape`, `Enter`, or `g c` for one after the other. */
export type KeyMap = Readonly<Record<string, KeyAction>>;

/** A key for the list of keys. */
export interface KeyHelp {
  readonly keys: string;
  readonly words: string;
}

const maps: KeyMap[] = [];
let prefix = "";
let prefixTimer: ReturnType<typeof setTimeout> | undefined;

/** Whether keys are text where the focus is. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  return target instanceof HTMLInputElement && !["checkbox", "radio", "button", "submit"].includes(target.type);
}

function nameOf({ key, shiftKey }: KeyboardEvent): string {
  return shiftKey && /^[A-Za-z]$/.test(key) ? `Shift+${key.toLowerCase()}` : key;
}

function run(name: string, event: KeyboardEvent): boolean {
  for (const map of [...maps].reverse()) {
    const action = map[name];
    if (action === undefined) continue;
    if (action(event) === false) continue;
    event.preventDefault();
    return true;
  }
  return false;
}

function onKeyDown(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
  const name = nameOf(event);
  const isLetter = name.length === 1 || name.startsWith("Shift+");
  if (isLetter && (!singleKeys.value || isTyping(event.target) || document.querySelector("dialog[open]") !== null)) return;
  if (!isLetter && isTyping(event.target) && name !== "Escape") return;
  if (prefix !== "") {
    const both = `${prefix} ${name}`;
    prefix = "";
    clearTimeout(prefixTimer);
    if (run(both, event)) return;
  }
  if (run(name, event)) return;
  if (isLetter && maps.some((map) => Object.keys(map).some((keys) => keys.startsWith(`${name} `)))) {
    prefix = name;
    prefixTimer = setTimeout(() => {
      prefix = "";
    }, 1_500);
    return;
  }
  if (name === "Escape" && document.activeElement instanceof HTMLElement && document.querySelector("dialog[open]") === null) {
    document.activeElement.blur();
  }
}

/** Starts to listen for keys. */
export function startKeys(): void {
  document.addEventListener("keydown", onKeyDown);
}

/** Adds keys for good or until the returned function is called; later ones go first. */
export function addKeys(map: KeyMap): () => void {
  maps.push(map);
  return () => {
    const at = maps.indexOf(map);
    if (at !== -1) maps.splice(at, 1);
  };
}

/** The keys of a component, for as long as it is shown. */
export function useKeys(map: KeyMap): void {
  const latest = useRef(map);
  latest.current = map;
  const names = Object.keys(map).join("\n");
  useEffect(() => {
    const lasting = Object.fromEntries(
      names.split("\n").map((name) => [name, (event: KeyboardEvent) => latest.current[name]?.(event)]),
    );
    return addKeys(lasting);
  }, [names]);
}
