/** `docker run` as people use it, with the same limits as an instance and no network to set up. Its default has no user namespace and keeps some capabilities. */
import type { Language, System } from '../series.ts';
import { COMMANDS } from '../rootfs.ts';
import type { DockerDaemon } from './docker-daemon.ts';
import { checkGreetings, startSeries } from './program.ts';

const LIMITS = ['--network', 'none', '--memory', '128m', '--memory-swap', '128m', '--pids-limit', '64', '--cpus', '1', '--read-only', '--tmpfs', '/tmp:size=64m'];
const RESTRICTIONS = ['--user', '1000:1000', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'];

export function dockerSystem(daemon: DockerDaemon): System {
  const commandOf = (language: Language) => [...daemon.client, 'run', '--rm', ...LIMITS, ...RESTRICTIONS, 'hello', ...COMMANDS[language]];
  return {
    name: 'docker',
    // Its starts take so long that a gap before them says nothing new about C.
    series: startSeries('docker', commandOf, 5).filter(({ name }) => name !== 'docker/c/gap-50ms'),
    async prepare() {
      await daemon.start();
      await checkGreetings(commandOf);
    },
    cleanup: () => daemon.stop(),
  };
}
