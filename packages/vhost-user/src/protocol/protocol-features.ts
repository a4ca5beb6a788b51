import { featureSet } from '@iothreads/core';

/** Among the virtio features: the protocol has features of its own, and rings start disabled. */
export const VHOST_USER_F_PROTOCOL_FEATURES = 30;

/** Protocol features (vhost-user, "Protocol features"), by bit number. */
export const ProtocolFeature = {
  MQ: 0,
  REPLY_ACK: 3,
  BACKEND_REQ: 5,
  CONFIG: 9,
  BACKEND_SEND_FD: 10,
  INFLIGHT_SHMFD: 12,
  CONFIGURE_MEM_SLOTS: 15,
} as const;

/** What the back end offers, and the front end asks for where it is offered. */
export const PROTOCOL_FEATURES = featureSet(...Object.values(ProtocolFeature));
