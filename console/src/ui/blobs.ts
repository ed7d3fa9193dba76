import { onSessionEnd } from "../api/session.ts";

const urls = new Set<string>();

function urlOf(text: string, type: string): string {
  const url = URL.createObjectURL(new Blob([text], { type }));
  urls.add(url);
  return url;
}

onSessionEnd(() => {
  for (const url of urls) URL.revokeObjectURL(url);
  urls.clear();
});

function click(url: string, attributes: Readonly<Record<string, string>>): void {
  const link = document.createElement("a");
  link.href = url;
  for (const [name, value] of Object.entries(attributes)) link.setAttribute(name, value);
  (document.querySelector("dialog[open]") ?? document.body).append(link);
  link.click();
  link.remove();
}

/** Saves a text as a file. The name is fixed by the page, never by the text. */
export function download(name: string, text: string, type = "application/json"): void {
  const url = urlOf(text, `${type};charset=utf-8`);
  click(url, { download: name });
  setTimeout(() => {
    URL.revokeObjectURL(url);
    urls.delete(url);
  }, 10_000);
}

/** Opens a text in a tab of its own, as plain text. */
export function openRaw(text: string): void {
  click(urlOf(text, "text/plain;charset=utf-8"), { target: "_blank", rel: "noopener" });
}

/** A cell of a CSV file; one that a spreadsheet would take for a formula gets an apostrophe. */
export function csvCell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
