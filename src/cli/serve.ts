/** `flashd serve`: one flag for every option of the table; the launcher does the rest. */
import { Option, type Command } from 'commander';
import { DEFAULT_CONFIG_FILE, loadConfig, NAMED_OPTIONS, rangeText, type NamedOption } from '../config/index.ts';
import { verb } from './verb.ts';

export function serveCommand(): Command {
  const command = verb('serve', 'serve functions, in the foreground (as root)', [
    'flashd serve',
    'flashd serve --listen 0.0.0.0:80 --state-dir /srv/flashd',
    'FLASHD_LISTEN=127.0.0.1:9000 flashd serve',
    'flashd serve --config /etc/flashd/config.json',
  ]).option('--config <file>', `configuration file, JSON (FLASHD_CONFIG; ${DEFAULT_CONFIG_FILE} if it exists)`);
  for (const named of NAMED_OPTIONS) command.addOption(new Option(`${named.flag} <value>`, describe(named)));
  return command.action(async (_options: object, self: Command) => {
    const flags = Object.fromEntries(
      self.options.map((option) => [option.long!.slice(2), self.getOptionValue(option.attributeName()) as string | undefined]),
    );
    const config = loadConfig({ configFile: flags['config'], environment: process.env, flags });
    const { launch } = await import('../launcher/index.ts');
    await launch(config);
  });
}

function describe({ option, environment }: NamedOption): string {
  const value = option.defaultText ?? (option.default === '' ? 'none' : String(option.default));
  return `${option.description} (${environment}; ${rangeText(option)}; default: ${value})`;
}
