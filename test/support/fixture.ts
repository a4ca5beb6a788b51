/** The URL of a module of `test/fixtures`. */
export const fixture = (name: string): string => new URL(`../fixtures/${name}`, import.meta.url).href;
