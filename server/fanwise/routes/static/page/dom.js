/** The document: what is written into it is text, always. */

export const byId = (id) => document.getElementById(id);

/** Writes `text` into `node`, unless it says that already. */
export function write(node, text) {
  const string = String(text);
  if (node.textContent !== string) {
    node.textContent = string;
  }
}

/** A new element. `properties` are set as such: `className`, `type`, `scope`, `title`, `hidden`. */
export function make(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

/** Sets or takes away a class, only when that changes something. */
export function mark(node, name, isSo) {
  if (node.classList.contains(name) !== isSo) {
    node.classList.toggle(name, isSo);
  }
}
