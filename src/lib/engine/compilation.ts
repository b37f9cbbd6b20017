/** Long compilations, told to whoever shows progress. */

/**
 * What is told when a program of so many characters begins to be compiled; and, by what it returns, when it is there.
 */
export type CompilationListener = (characters: number) => (milliseconds: number) => void;

let listener: CompilationListener = () => () => {};

/** Programs shorter than this compile before anybody wonders. */
const LONG = 200_000;

export function onCompilation(heard: CompilationListener): void {
  listener = heard;
}

export const compilationBegins: CompilationListener = (characters) =>
  characters < LONG ? () => {} : listener(characters);
