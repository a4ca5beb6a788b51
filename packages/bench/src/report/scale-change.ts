import type { ScaleCell } from '../results.js';
import { MISSING, formatChange } from './format.js';

/** IOPS against those without idle devices; the latter have nothing to be held against. */
export function scaleChange(scale: readonly ScaleCell[], cell: ScaleCell): string {
  const alone = scale.find(({ idle_devices }) => idle_devices === 0);
  if (alone === undefined || cell === alone) return MISSING;
  return formatChange(cell.iops / alone.iops);
}
