/** A bare uWebSockets.js hello on the same Node as the gateway: what is left of the gateway when it is taken away. */
import { join } from 'node:path';
import { node } from '../../../build/steps.ts';
import { httpPeerSystem, type HttpPeer } from './http-peer.ts';

const script = join(import.meta.dirname, '../peers/uws-bare.ts');

export const uwsBare: HttpPeer = {
  name: 'uws-bare',
  command: port => [node, '--disable-warning=ExperimentalWarning', script, String(port)],
};

export const uwsBareSystem = () => httpPeerSystem(uwsBare);
