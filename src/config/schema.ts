/** The configuration's JSON schema, generated from the table of options. */
import { FUNCTION_DEFAULTS, OPTIONS, type Option } from './options.ts';

function optionSchema(option: Option): Record<string, unknown> {
  if (option.type !== 'string') return { type: option.type, minimum: option.minimum, maximum: option.maximum };
  const schema: Record<string, unknown> = { type: 'string', maxLength: 4096 };
  if (option.pattern !== undefined) schema['pattern'] = option.pattern;
  if (option.values !== undefined) schema['enum'] = option.values;
  return schema;
}

const properties = (table: Record<string, Option>) =>
  Object.fromEntries(Object.entries(table).map(([name, option]) => [name, optionSchema(option)]));

export const CONFIG_SCHEMA = {
  $schema: 'http://json-schema.org/draft-07/schema#',
  type: 'object',
  additionalProperties: false,
  properties: {
    ...properties(OPTIONS),
    functionDefaults: { type: 'object', additionalProperties: false, properties: properties(FUNCTION_DEFAULTS) },
  },
};
