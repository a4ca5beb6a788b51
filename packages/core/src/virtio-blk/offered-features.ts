import {
  featureSet,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
} from '../virtio/features.js';
import {
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_SIZE_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
} from './constants.js';

/** What of a device decides which features it offers. */
export interface OfferedFeaturesOptions {
  readonly numQueues: number;
  readonly readOnly: boolean;
  readonly discard: boolean;
  readonly writeZeroes: boolean;
  readonly sizeMax?: number | undefined;
}

/** The feature bits of a virtio-blk device (virtio 1.3 sections 5.2.3 and 6). SIZE_MAX is left out where buffers have no bound. */
export function offeredFeatures(options: OfferedFeaturesOptions): bigint {
  let features = featureSet(
    VIRTIO_F_VERSION_1,
    VIRTIO_F_INDIRECT_DESC,
    VIRTIO_F_EVENT_IDX,
    VIRTIO_BLK_F_SEG_MAX,
    VIRTIO_BLK_F_BLK_SIZE,
    VIRTIO_BLK_F_TOPOLOGY,
    VIRTIO_BLK_F_FLUSH,
    VIRTIO_BLK_F_CONFIG_WCE,
  );
  if (options.sizeMax !== undefined) features |= featureSet(VIRTIO_BLK_F_SIZE_MAX);
  if (options.readOnly) features |= featureSet(VIRTIO_BLK_F_RO);
  if (options.numQueues > 1) features |= featureSet(VIRTIO_BLK_F_MQ);
  if (options.discard) features |= featureSet(VIRTIO_BLK_F_DISCARD);
  if (options.writeZeroes) features |= featureSet(VIRTIO_BLK_F_WRITE_ZEROES);
  return features;
}
