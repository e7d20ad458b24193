/** The one rule for names of functions: they stand in URLs, host names, file names and metrics as they are. */
import { FlashdError } from '../errors/index.ts';

const FUNCTION_NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;

export function isFunctionName(name: string): boolean {
  return FUNCTION_NAME.test(name);
}

export function checkFunctionName(name: string): string {
  if (!isFunctionName(name)) throw new FlashdError('name_invalid', { message: `"${name.slice(0, 100)}" is not a valid function name` });
  return name;
}
