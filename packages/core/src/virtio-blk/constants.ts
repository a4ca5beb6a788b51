/**
 * virtio-blk numbers, virtio 1.3 section 5.2.
 */

/** Unit of sector numbers and of the capacity, whatever the logical block size (5.2.4). */
export const SECTOR_SIZE = 512;

export const VIRTIO_ID_BLOCK = 2;

/** Request types (5.2.6). */
export const VIRTIO_BLK_T_IN = 0;
export const VIRTIO_BLK_T_OUT = 1;
export const VIRTIO_BLK_T_FLUSH = 4;
export const VIRTIO_BLK_T_GET_ID = 8;
export const VIRTIO_BLK_T_DISCARD = 11;
export const VIRTIO_BLK_T_WRITE_ZEROES = 13;
/** Legacy modifier bit of the type; ignored, as QEMU does. */
export const VIRTIO_BLK_T_BARRIER = 0x8000_0000;

/** Status bytes (5.2.6). */
export const VIRTIO_BLK_S_OK = 0;
export const VIRTIO_BLK_S_IOERR = 1;
export const VIRTIO_BLK_S_UNSUPP = 2;

/** Feature bits (5.2.3). */
export const VIRTIO_BLK_F_SIZE_MAX = 1;
export const VIRTIO_BLK_F_SEG_MAX = 2;
export const VIRTIO_BLK_F_RO = 5;
export const VIRTIO_BLK_F_BLK_SIZE = 6;
export const VIRTIO_BLK_F_FLUSH = 9;
export const VIRTIO_BLK_F_TOPOLOGY = 10;
export const VIRTIO_BLK_F_CONFIG_WCE = 11;
export const VIRTIO_BLK_F_MQ = 12;
export const VIRTIO_BLK_F_DISCARD = 13;
export const VIRTIO_BLK_F_WRITE_ZEROES = 14;

/** Request header: type u32 @0, reserved u32 @4, sector u64 @8 (5.2.6). */
export const REQUEST_HEADER_BYTES = 16;
/** Length of the serial number that GET_ID returns, padded with NUL (5.2.6). */
export const SERIAL_BYTES = 20;
/** One range of a discard or write-zeroes: sector u64 @0, num_sectors u32 @8, flags u32 @12 (5.2.6). */
export const RANGE_BYTES = 16;
export const RANGE_FLAG_UNMAP = 1;
