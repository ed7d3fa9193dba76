import { signal } from "@preact/signals";

/** The theme: of the system unless one is chosen. */
export type Theme = "system" | "light" | "dark";

function kept(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

function keep(name: string, value: string | undefined): void {
  try {
    if (value === undefined) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch {
    // Storage may be forbidden: the choice holds until the page is left.
  }
}

const known = kept("tw-theme");
/** The chosen theme. */
export const theme = signal<Theme>(known === "light" || known === "dark" ? known : "system");
/** Whether letters alone are shortcuts; off for people whose input methods press them (WCAG 2.1.4). */
export const singleKeys = signal(kept("tw-single-keys") !== "off");

/** Changes the theme, now and for the next visits. */
export function setTheme(next: Theme): void {
  theme.value = next;
  keep("tw-theme", next === "system" ? undefined : next);
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
}

/** Switches the shortcuts of one letter. */
export function setSingleKeys(isOn: boolean): void {
  singleKeys.value = isOn;
  keep("tw-single-keys", isOn ? undefined : "off");
}
