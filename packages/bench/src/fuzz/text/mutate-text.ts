import type { Random } from '../../stress/random.js';

/** Makes mistakes in a text: characters more, fewer, or others; pieces twice, or gone. */
export function mutateText(random: Random, text: string, alphabet: readonly string[]): string {
  let result = text;
  const mistakes = 1 + random.below(3);
  for (let i = 0; i < mistakes; i++) {
    const at = random.below(result.length + 1);
    const byteLength = 1 + random.below(6);
    switch (random.below(5)) {
      case 0:
        result = result.slice(0, at) + random.pick(alphabet) + result.slice(at);
        break;
      case 1:
        result = result.slice(0, at) + result.slice(at + byteLength);
        break;
      case 2:
        result = result.slice(0, at) + random.pick(alphabet) + result.slice(at + 1);
        break;
      case 3:
        result =
          result.slice(0, at) + result.slice(at, at + byteLength).repeat(2) + result.slice(at + byteLength);
        break;
      default:
        result = result.slice(0, at);
    }
  }
  return result;
}
