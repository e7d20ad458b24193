/**
 * Makes build/out/flashd: a copy of the pinned Node, stripped, with the bundle and the assets injected as a single-executable application by pkg's own
 * module for that (its command line would download a Node). Nothing of the machine gets in: the same tree gives the same bytes, wherever it stands.
 */
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { assetFiles } from '../src/assets.ts';
import { bundlePath } from './bundle.ts';
import { cache, node, out, root, run, stepIfChanged } from './steps.ts';
import { withErrorCodes } from './uws-answers.ts';

export const binaryPath = join(out, 'flashd');
/** Upstream's binary of uWebSockets.js for the ABI of Node 22, as its repack on npm carries it. */
const UWS_SHA256 = '8cabc918bbf9a07323e54f89a33882491080b2eb35df0607f473ccdb1f3c31af';

type SeaOptions = {
  signature: boolean;
  nodePath: string;
  targets: { nodeRange: string; platform: string; arch: string; output: string }[];
  seaConfig: Record<string, unknown>;
};

const require = createRequire(import.meta.url);

export async function packageBinary(): Promise<void> {
  const files = Object.fromEntries(Object.entries(assetFiles).map(([name, path]) => [name, join(root, path)]));
  const uws = createHash('sha256').update(readFileSync(files['uws.node']!)).digest('hex');
  if (uws !== UWS_SHA256) throw new Error(`the uWebSockets.js binary has changed: ${uws}`);
  const inputs = [bundlePath, import.meta.filename, join(import.meta.dirname, 'uws-answers.ts'), ...Object.values(files)].map(path => readFileSync(path));
  await stepIfChanged('package: inject the bundle and the assets into Node', binaryPath, join(out, 'flashd.stamp'), [process.version, ...inputs], () => inject(files));
}

async function inject(files: Record<string, string>): Promise<void> {
  const base = await strippedNode();
  const uws = join(out, 'native/uws.node');
  writeFileSync(uws, withErrorCodes(readFileSync(files['uws.node']!)));
  const assets = { ...files, 'uws.node': uws, sandboxd: await stripped(files['sandboxd']!), 'flashd.node': await stripped(files['flashd.node']!) };
  const scratch = join(out, 'sea');
  const output = join(scratch, 'flashd');
  rmSync(scratch, { recursive: true, force: true });
  mkdirSync(scratch, { recursive: true });
  const sea = require('@yao-pkg/pkg/lib-es5/sea.js') as { default: (main: string, options: SeaOptions) => Promise<void> };
  const { log } = require('@yao-pkg/pkg/lib-es5/log.js') as { log: { info: (text: string) => void } };
  log.info = () => {};
  // The path of main goes into the blob, so it is given relative to the folder that pkg makes below TMPDIR and works in.
  process.env['TMPDIR'] = scratch;
  await sea.default(bundlePath, {
    signature: false,
    nodePath: base,
    targets: [{ nodeRange: 'node22', platform: 'linux', arch: 'x64', output }],
    seaConfig: {
      main: '../../main.cjs',
      disableExperimentalSEAWarning: true,
      useCodeCache: false,
      useSnapshot: false,
      // Without this the binary, which starts as root, would obey NODE_OPTIONS.
      execArgvExtension: 'none',
      assets,
    },
  });
  delete process.env['TMPDIR'];
  chmodSync(output, 0o755);
  renameSync(output, binaryPath);
  rmSync(scratch, { recursive: true });
}

async function strippedNode(): Promise<string> {
  const path = join(cache, `node-${process.version}-${statSync(node).size}`);
  if (!existsSync(path)) {
    copyFileSync(node, `${path}.part`);
    await run('strip', ['--strip-all', `${path}.part`]);
    renameSync(`${path}.part`, path);
  }
  return path;
}

async function stripped(path: string): Promise<string> {
  const result = `${path}.stripped`;
  await run('strip', ['--strip-unneeded', '-o', result, path]);
  return result;
}
