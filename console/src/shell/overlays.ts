import { signal } from "@preact/signals";

/** The layer over the page: the list of keys, or the palette. */
export const overlay = signal<"help" | "palette" | undefined>(undefined);

/** Shows the list of keys. */
export function openHelp(): void {
  overlay.value = "help";
}

/** Shows the palette. */
export function openPalette(): void {
  overlay.value = "palette";
}

/** Closes the layer over the page. */
export function closeOverlay(): void {
  overlay.value = undefined;
}
