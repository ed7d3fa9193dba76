import { addKeys, isTyping } from "../keyboard/keys.ts";
import { base, navigate } from "../router/router.ts";
import { openHelp, openPalette } from "./overlays.ts";
import { navGroups } from "./routes.ts";

/** The keys that hold on every page. */
export function startGlobalKeys(): void {
  const pages = navGroups.flatMap(({ entries }) => entries).filter(({ key }) => key !== undefined);
  addKeys({
    "?": openHelp,
    "/": () => {
      const search = document.querySelector<HTMLInputElement>("main [type=search], main [data-search]");
      if (search === null) return false;
      search.focus();
      search.select();
    },
    ...Object.fromEntries(pages.map(({ path, key }) => [`g ${key}`, () => navigate(`${base}${path}`)])),
  });
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || event.shiftKey || event.altKey || event.ctrlKey === event.metaKey) return;
    if (isTyping(event.target) && !event.ctrlKey && !event.metaKey) return;
    if (document.querySelector("dialog[open]") !== null) return;
    event.preventDefault();
    openPalette();
  });
}
