/** What only a system call tells of the kernel. */
import { loadAddon } from '../native-addon.ts';

/** Landlock's version; 0: there is none. */
export function landlockVersion(): number {
  return loadAddon().landlock();
}
