/** Feature bits that belong to no device type, virtio 1.3 section 6. Control plane only: bigints are fine here. */
export const VIRTIO_F_INDIRECT_DESC = 28;
export const VIRTIO_F_EVENT_IDX = 29;
export const VIRTIO_F_VERSION_1 = 32;

/** A set of feature bits, given by their numbers. */
export const featureSet = (...bits: number[]): bigint =>
  bits.reduce((set, bit) => set | (1n << BigInt(bit)), 0n);

/** Whether feature bit number `bit` is in a set. */
export const hasFeature = (set: bigint, bit: number): boolean => ((set >> BigInt(bit)) & 1n) === 1n;
