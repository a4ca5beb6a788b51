/**
 * The door to drives in QEMU's spelling. Without the drivers themselves: a command line is read before any is loaded.
 *
 * @packageDocumentation
 */
export {
  type BlkdebugBlockdev,
  type BlklogwritesBlockdev,
  type BlockdevOptions,
  blockdevSchema,
  type CommonOptions,
  type FileBlockdev,
  type LeafBlockdev,
  type MemoryBlockdev,
  type ModuleBlockdev,
  type NestedBlockdev,
  type NullBlockdev,
  type RawBlockdev,
} from './blockdev-options.js';
export { inheritOptions, innerDrive, isNested, leafOptions, nestedOptions } from './drive-options.js';
export { faultRules, injectError, type InjectError, injectErrorSchema } from './inject-error.js';
export { type OptionWords } from './option-words.js';
