/** What an archive holds at a path: content, a directory, or the target of a symbolic link. */
export type ArchiveEntry = Uint8Array | 'directory' | { readonly linkTo: string };

const MODE = { file: 0o100755, directory: 0o040755, link: 0o120777 } as const;
const TRAILER = 'TRAILER!!!';

const text = new TextEncoder();
const hex = (value: number): string => value.toString(16).padStart(8, '0');

/** Fills up to the next multiple of four. */
const padding = (length: number): Uint8Array => new Uint8Array(-length & 3);

function* pieces(path: string, mode: number, content: Uint8Array, inode: number): Generator<Uint8Array> {
  const name = text.encode(`${path}\0`);
  // inode, mode, user, group, links, time, size, device (major, minor), its own number (major, minor), length of the name, checksum
  const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length, 0];
  const header = text.encode(`070701${fields.map(hex).join('')}`);
  yield header;
  yield name;
  yield padding(header.length + name.length);
  yield content;
  yield padding(content.length);
}

/**
 * Writes what Linux unpacks as its first file system: a cpio archive in the format `newc`. The kernel takes several, one behind
 * the other. Parents stand before what is in them.
 */
export function newcArchive(entries: Iterable<readonly [path: string, entry: ArchiveEntry]>): Buffer {
  const all: Uint8Array[] = [];
  let inode = 1;
  for (const [path, entry] of entries) {
    if (entry === 'directory') all.push(...pieces(path, MODE.directory, new Uint8Array(), inode));
    else if (entry instanceof Uint8Array) all.push(...pieces(path, MODE.file, entry, inode));
    else all.push(...pieces(path, MODE.link, text.encode(entry.linkTo), inode));
    inode += 1;
  }
  all.push(...pieces(TRAILER, 0, new Uint8Array(), 0));
  return Buffer.concat(all);
}
