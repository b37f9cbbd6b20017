/** HTML elements made of text that is never read as HTML. */

type Child = Node | string;

interface Attributes {
  [name: string]: string | number | boolean | ((event: Event) => void) | undefined;
}

/** An element with attributes (functions are listeners, false and undefined are left out) and children. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') node.addEventListener(name, value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? '' : String(value));
  }
  node.append(...children);
  return node;
}

/** A number as people read it: six digits, whole ones in full. */
export const shown = (value: number): string =>
  Number.isInteger(value) ? value.toLocaleString('en') : String(Number(value.toPrecision(6)));

/** A fact of a configuration or a protocol. */
export function factText(fact: unknown): string {
  if (fact === undefined) return '';
  if (fact === null) return 'unknown';
  return typeof fact === 'string' ? fact : typeof fact === 'number' ? shown(fact) : JSON.stringify(fact);
}
