/**
 * The door to drives in QEMU's spelling. Without the drivers themselves: a command line is read before any is loaded.
 *
 * @packageDocumentation
 */
export {
  type BlockdevOptions,
  blockdevSchema,
  type CommonOptions,
  type FileBlockdev,
  type LeafBlockdev,
  type MemoryBlockdev,
  type ModuleBlockdev,
  type NullBlockdev,
  type RawBlockdev,
} from './blockdev-options.js';
export { inheritOptions, leafOptions, windowOptions } from './drive-options.js';
export { type OptionWords } from './option-words.js';
