/** What the engine does otherwise than it was told, for whoever shows progress: each line once. */
let listener: (line: string) => void = () => {};
const said = new Set<string>();

export function onNotice(heard: (line: string) => void): void {
  listener = heard;
}

export function notice(line: string): void {
  if (said.has(line)) return;
  said.add(line);
  listener(line);
}
