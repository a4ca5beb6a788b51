/** A general-purpose register, by its number. */
export interface Register {
  readonly number: number;
}

const NAMES =
  'zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6';
type WordsOf<Text extends string> = Text extends `${infer First} ${infer Rest}`
  ? First | WordsOf<Rest>
  : Text;

/** Registers by the names that calling conventions give them. */
export const registers = Object.fromEntries(
  NAMES.split(' ').map((name, number) => [name, { number }]),
) as Record<WordsOf<typeof NAMES>, Register>;

/** A place in the program: a label, or a text that is put behind it. */
export type Target = string | { readonly text: string };

/** Words that are known once every label has its address. */
export interface Instruction {
  readonly words: number;
  /** @param at address of the first word */
  encode(at: number, addressOf: (target: Target) => number): readonly number[];
}

interface Label {
  readonly label: string;
}

/** A program, or a part of one. */
export type Code = Instruction | Label | readonly Code[];

/** What comes next can be jumped to by this name. */
export const label = (name: string): Label => ({ label: name });

/**
 * Puts a program together.
 * @param origin guest address of its first byte
 * @throws RangeError for a label that is missing or there twice, or a number that does not fit into its instruction
 */
export function assemble(origin: number, code: Code): Uint8Array {
  const addresses = new Map<string, number>();
  const placed: { instruction: Instruction; at: number }[] = [];
  let at = origin;
  for (const item of flatten(code)) {
    if ('label' in item) {
      if (addresses.has(item.label)) throw new RangeError(`there are two labels '${item.label}'`);
      addresses.set(item.label, at);
    } else {
      placed.push({ instruction: item, at });
      at += item.words * 4;
    }
  }
  const texts: number[] = [];
  const textAddresses = new Map<string, number>();
  const addressOf = (target: Target): number => {
    if (typeof target === 'string') {
      const address = addresses.get(target);
      if (address === undefined) throw new RangeError(`there is no label '${target}'`);
      return address;
    }
    const address = textAddresses.get(target.text) ?? at + texts.length;
    if (!textAddresses.has(target.text)) {
      textAddresses.set(target.text, address);
      texts.push(...new TextEncoder().encode(`${target.text}\0`));
    }
    return address;
  };
  const words = placed.flatMap((each) => each.instruction.encode(each.at, addressOf));
  return Uint8Array.of(...new Uint8Array(Uint32Array.from(words).buffer), ...texts);
}

function flatten(code: Code): (Instruction | Label)[] {
  return isList(code) ? code.flatMap(flatten) : [code];
}

const isList = (code: Code): code is readonly Code[] => Array.isArray(code);
