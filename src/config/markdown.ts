/** src/config/README.md, generated from the table of options; a test compares the file with this text. */
import { rangeText } from './index.ts';
import { NAMED_OPTIONS } from './options.ts';

export function configurationMarkdown(): string {
  const rows = NAMED_OPTIONS.map(({ option, path, environment, flag }) => {
    const value = option.defaultText ?? (option.default === '' ? 'empty' : `\`${option.default}\``);
    return `| \`${path.join('.')}\` | \`${environment}\` | \`${flag}\` | ${value} | ${rangeText(option)} | ${option.description} |`;
  });
  return [
    '# Configuration',
    '',
    'Each option has a default, which the configuration file overrides, which the environment overrides, which the flags of `flashd serve` override.',
    'The file is JSON: `/etc/flashd/config.json` if it exists, or the one named with `--config` or `FLASHD_CONFIG`. A dot in a name is an object in the file:',
    '`{"listen": "127.0.0.1:8080", "functionDefaults": {"timeoutMs": 5000}}`. `functionDefaults` is what a `function.json` leaves out.',
    'Everything is validated before anything is started; an unknown option is refused.',
    '',
    '| option | environment | flag | default | may be | what it is |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}
