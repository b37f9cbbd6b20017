/**
 * JSON.parse that refuses an object with the same key twice, and nesting without end. JSON.parse keeps the last of two
 * keys in silence, so two readers of one file could see different tensors under one name; what goes through a value
 * nested deeply runs out of stack.
 */

/** Strings (with the colon that makes one a key) and the brackets that open and close objects and lists. */
const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}[\]]/g;

/** No header or record of ours or of others' is nested by half as much. */
const DEEPEST = 64;

/** Whether JSON is nested deeper than anything that is read here. Strings are not looked into. */
export function isDeep(text: string): boolean {
  if ((text.match(/[{[]/g)?.length ?? 0) <= DEEPEST) return false;
  let depth = 0;
  for (const [token] of text.matchAll(TOKENS)) {
    if (token === '{' || token === '[') depth++;
    else if (token === '}' || token === ']') depth--;
    if (depth > DEEPEST) return true;
  }
  return false;
}

/** @throws SyntaxError when the text is not JSON, is nested more than 64 deep, or an object repeats a key. */
export function parseUniqueJson(text: string): unknown {
  const open: Set<string>[] = [];
  for (const [token, colon] of text.matchAll(TOKENS)) {
    if (token === '{' || token === '[') {
      if (open.push(new Set()) > DEEPEST) throw new SyntaxError(`it is nested more than ${DEEPEST} deep`);
    } else if (token === '}' || token === ']') open.pop();
    else if (colon) addKey(open.at(-1), token.slice(0, -colon.length));
  }
  return JSON.parse(text);
}

function addKey(keys: Set<string> | undefined, token: string): void {
  const key = JSON.parse(token) as string;
  if (keys?.has(key)) throw new SyntaxError(`the key ${JSON.stringify(key.slice(0, 80))} comes twice`);
  keys?.add(key); // outside of an object, the text is not JSON
}
