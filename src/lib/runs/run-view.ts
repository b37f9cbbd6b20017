/** What a page shows of runs: plain JSON, as it goes from the program to the page. */

/** One line of a log: of a step, or, with a field `evaluation`, of what was measured at one. */
export type LogLine = Readonly<Record<string, unknown>>;

/** Plain JSON with fields of any meaning: a configuration, a result with its protocol. */
export type Facts = Readonly<Record<string, unknown>>;

/** A sheet of samples, drawn from the same noise at every step. */
export interface PictureView {
  step: number;
  /** Where the page finds it: a path of the server, or the picture itself. */
  uri: string;
}

export interface RunView {
  name: string;
  /** config.json of the newest checkpoint; null before the first. */
  config: Facts | null;
  lines: readonly LogLine[];
  pictures: readonly PictureView[];
}

export interface PageView {
  title: string;
  /** True where the page asks for more while it is open. */
  live: boolean;
  runs: readonly RunView[];
  /** Lines of --json of fid, cknna and probe. */
  results: readonly Facts[];
  /** Other pictures, under their names. */
  pictures: readonly { name: string; uri: string }[];
}

/** What changed in a run since the page asked last. */
export interface RunChange extends RunView {
  /** True where `lines` take the place of all earlier ones. */
  replaced: boolean;
}
