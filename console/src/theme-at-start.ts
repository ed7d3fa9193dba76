// Runs before the first paint, so that a chosen theme does not flash.
try {
  const theme = localStorage.getItem("tw-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  if (localStorage.getItem("tw-density") === "compact") document.documentElement.dataset.density = "compact";
} catch {
  // Storage may be forbidden: the system's theme holds.
}
