/** Compiled ahead, like the configuration's (config/schema.validator.ts). */
import { Ajv } from 'ajv';
import schema from './function.schema.json' with { type: 'json' };

export const ajv = new Ajv({ allErrors: false, code: { source: true, esm: true } });
export default ajv.compile(schema);
