/** `flashd header`: the C interface that a native handler includes. */
import type { Command } from 'commander';
import { readAsset } from '../assets.ts';
import { outputOf, verb, type CommonOptions } from './verb.ts';

export function headerCommand(): Command {
  return verb('header', 'print flashd.h, the C interface of native functions', [
    'flashd header > flashd.h',
    'gcc -O2 -fPIC -shared -I. -o handler.so handler.c',
  ]).action((options: CommonOptions) => {
    const output = outputOf(options);
    const header = readAsset('flashd.h');
    output.value({ header: Buffer.from(header).toString('utf8') });
    if (!output.json) output.raw(header);
  });
}
