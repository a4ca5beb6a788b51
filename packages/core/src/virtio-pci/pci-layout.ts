/**
 * The PCI configuration space's header (PCI Local Bus 3.0, section 6.1), in bytes.
 */
export const PCI_CONFIG_BYTES = 256;
export const PCI_VENDOR_ID = 0x00;
export const PCI_DEVICE_ID = 0x02;
export const PCI_COMMAND = 0x04;
export const PCI_STATUS = 0x06;
export const PCI_REVISION_ID = 0x08;
export const PCI_CLASS_CODE = 0x09;
export const PCI_CACHE_LINE_SIZE = 0x0c;
export const PCI_BAR0 = 0x10;
export const PCI_SUBSYSTEM_VENDOR_ID = 0x2c;
export const PCI_SUBSYSTEM_ID = 0x2e;
export const PCI_CAPABILITIES_POINTER = 0x34;
export const PCI_INTERRUPT_LINE = 0x3c;
export const PCI_INTERRUPT_PIN = 0x3d;

export const PCI_COMMAND_IO = 0x0001;
export const PCI_COMMAND_MEMORY = 0x0002;
export const PCI_COMMAND_MASTER = 0x0004;
export const PCI_COMMAND_INTX_DISABLE = 0x0400;
export const PCI_STATUS_INTERRUPT = 0x0008;
export const PCI_STATUS_CAPABILITIES = 0x0010;
export const PCI_BAR_IO = 1;

export const PCI_CAP_ID_VENDOR = 0x09;
export const PCI_CAP_ID_MSIX = 0x11;

/** Who we are: virtio 1.3 section 4.1.2.1; the subsystem's number says "virtio 1.0 or later". */
export const VIRTIO_PCI_VENDOR = 0x1af4;
export const VIRTIO_PCI_DEVICE_BASE = 0x1040;
export const VIRTIO_PCI_SUBSYSTEM = 0x1100;
/** Mass storage, of no further kind. */
export const CLASS_MASS_STORAGE_OTHER = 0x01_8000;

/**
 * A virtio structure capability (4.1.4): cap_vndr u8 @0, cap_next u8 @1, cap_len u8 @2, cfg_type u8 @3, bar u8 @4, id u8 @5,
 * offset u32 @8, length u32 @12; behind it notify_off_multiplier u32, or pci_cfg_data u8[4].
 */
export const VIRTIO_PCI_CAP_BYTES = 16;
export const VIRTIO_PCI_CAP_BAR = 4;
export const VIRTIO_PCI_CAP_OFFSET = 8;
export const VIRTIO_PCI_CAP_LENGTH = 12;
export const VIRTIO_PCI_CAP_EXTRA = 16;

export const VIRTIO_PCI_CAP_COMMON_CFG = 1;
export const VIRTIO_PCI_CAP_NOTIFY_CFG = 2;
export const VIRTIO_PCI_CAP_ISR_CFG = 3;
export const VIRTIO_PCI_CAP_DEVICE_CFG = 4;
export const VIRTIO_PCI_CAP_PCI_CFG = 5;

/** The MSI-X capability (PCI Local Bus 3.0, section 6.8.2): control u16 @2, table's place u32 @4, pending bits' place u32 @8. */
export const MSIX_CAP_BYTES = 12;
export const MSIX_CONTROL = 2;
export const MSIX_TABLE = 4;
export const MSIX_PBA = 8;
export const MSIX_CONTROL_ENABLE = 0x8000;
export const MSIX_CONTROL_FUNCTION_MASK = 0x4000;
/** A table entry: address u64 @0, data u32 @8, vector control u32 @12, whose lowest bit masks it. */
export const MSIX_ENTRY_BYTES = 16;
export const MSIX_MAX_VECTORS = 2048;

/** `struct virtio_pci_common_cfg` (4.1.4.3), without the fields of features that are not offered. */
export const COMMON_DEVICE_FEATURE_SELECT = 0;
export const COMMON_DEVICE_FEATURE = 4;
export const COMMON_DRIVER_FEATURE_SELECT = 8;
export const COMMON_DRIVER_FEATURE = 12;
export const COMMON_CONFIG_MSIX_VECTOR = 16;
export const COMMON_NUM_QUEUES = 18;
export const COMMON_DEVICE_STATUS = 20;
export const COMMON_CONFIG_GENERATION = 21;
export const COMMON_QUEUE_SELECT = 22;
export const COMMON_QUEUE_SIZE = 24;
export const COMMON_QUEUE_MSIX_VECTOR = 26;
export const COMMON_QUEUE_ENABLE = 28;
export const COMMON_QUEUE_NOTIFY_OFF = 30;
export const COMMON_QUEUE_DESC = 32;
export const COMMON_QUEUE_DRIVER = 40;
export const COMMON_QUEUE_DEVICE = 48;
export const COMMON_BYTES = 56;

/** An event that has no vector, or could not be given the one that the driver wanted (4.1.5.1.2). */
export const VIRTIO_MSI_NO_VECTOR = 0xffff;

/** Bits of the ISR status (4.1.4.5). */
export const ISR_QUEUE = 1;
export const ISR_CONFIG = 2;

/** Where our BAR has the structures. An I/O BAR has 256 bytes at the most, so they stand close. */
export const STRUCTURE_ISR = 0x38;
export const STRUCTURE_DEVICE = 0x40;
export const STRUCTURE_DEVICE_BYTES = 0x40;
export const STRUCTURE_NOTIFY = 0x80;
/** Bytes from one queue's doorbell to the next. */
export const NOTIFY_OFF_MULTIPLIER = 4;
