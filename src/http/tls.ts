/** The certificate and its key, both files that the service user can read: looked at now and then, so that a renewed one is taken without a restart. */
import { constants, accessSync, statSync } from 'node:fs';
import { SSLApp, type TemplatedApp } from 'uWebSockets.js';
import { FlashdError } from '../errors/index.ts';

export type TlsFiles = { readonly certificate: string; readonly key: string };

const LOOK_MS = 2000;

/** An app without routes. Throws config_invalid when the files are missing, unreadable or do not belong together. TLS 1.2 is the oldest that uWebSockets.js speaks. */
export function secureApp({ certificate, key }: TlsFiles): TemplatedApp {
  for (const file of [certificate, key]) {
    try {
      accessSync(file, constants.R_OK);
    } catch (cause) {
      const hint = "the service user reads it, not root: chgrp flashd FILE and chmod 640 FILE; the directories above it have to let that user through";
      throw new FlashdError('config_invalid', { message: `cannot read ${file}: ${(cause as Error).message}`, hint, cause });
    }
  }
  try {
    return SSLApp({ cert_file_name: certificate, key_file_name: key });
  } catch (cause) {
    throw new FlashdError('config_invalid', { message: `${certificate} and ${key} are not a certificate and its key`, hint: 'both are PEM; the certificate comes first in its file, then those that signed it', cause });
  }
}

/** Calls back after one of the files has changed, and again until they are left alone. Returns the way to stop. */
export function watchFiles(files: TlsFiles, changed: () => void): () => void {
  let seen = stateOf(files);
  const timer = setInterval(() => {
    const now = stateOf(files);
    if (now === seen) return;
    seen = now;
    changed();
  }, LOOK_MS).unref();
  return () => clearInterval(timer);
}

function stateOf({ certificate, key }: TlsFiles): string {
  const states = [certificate, key].map((file) => statSync(file, { throwIfNoEntry: false }));
  return states.map((state) => (state === undefined ? '' : `${state.ino} ${state.size} ${state.mtimeMs} ${state.ctimeMs}`)).join();
}
