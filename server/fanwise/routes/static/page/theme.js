/** The colours of the style sheet, for what is drawn on a canvas. */

const dark = matchMedia("(prefers-color-scheme: dark)");
const colours = new Map(); // {name: value}
const listeners = [];

dark.addEventListener("change", () => {
  colours.clear();
  listeners.forEach((listener) => listener());
});

/** The value of `--name`. */
export function colour(name) {
  if (!colours.has(name)) {
    colours.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  }
  return colours.get(name);
}

/** Calls `listener` when the colours have changed. */
export function onTheme(listener) {
  listeners.push(listener);
}
