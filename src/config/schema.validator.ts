/** Compiled at its first import, but in the bundle already when that is built (build/bundle.ts): compiling takes longer than most verbs of the command line. */
import { Ajv } from 'ajv';
import { CONFIG_SCHEMA } from './schema.ts';

export const ajv = new Ajv({ allErrors: false, allowUnionTypes: true, code: { source: true, esm: true } });
export default ajv.compile(CONFIG_SCHEMA);
