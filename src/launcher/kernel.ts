/** What only a system call tells of the kernel. */
import { loadAddon } from '../native-addon.ts';

/** Landlock's version; 0: there is none. undefined: it cannot be asked for, because the native addon finds no place to be loaded from. */
export function landlockVersion(): number | undefined {
  try {
    return loadAddon().landlock();
  } catch {
    return undefined;
  }
}
