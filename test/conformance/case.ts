/** What a conformance case is, and how it looks at answers. */
import assert from 'node:assert/strict';
import type { Language } from './fixtures.ts';
import type { Answer, Target } from './target.ts';

/** Why a language is left out: a sentence for each, so that none is left out by oversight (complete.test.ts). */
export type Reasons = Readonly<Record<Language, string>>;

export type Case = {
  title: string;
  fixture: string;
  /** It needs the limits or the fork of a real sandbox, and runs only behind the packaged flashd. */
  sandboxed?: true;
  /** Languages that cannot have it. */
  absent?: Reasons;
  /** It runs in forks of a function template too, frozen for at least `forMs` before; except in languages that have none here. failing: there is no response, errors alone. */
  frozen?: { forMs?: number; failing?: true; except?: Reasons };
  run(target: Target, language: Language): Promise<void>;
};

export function response(answer: Answer): Extract<Answer, { kind: 'response' }> {
  assert.equal(answer.kind, 'response', JSON.stringify(answer));
  return answer as Extract<Answer, { kind: 'response' }>;
}

export function failure(answer: Answer, ...codes: string[]): Extract<Answer, { kind: 'error' }> {
  assert.equal(answer.kind, 'error', JSON.stringify(answer));
  const error = answer as Extract<Answer, { kind: 'error' }>;
  assert.ok(codes.includes(error.code), `${error.code} (${error.message}) is none of ${codes.join(', ')}`);
  return error;
}

export const json = (answer: Answer): any => JSON.parse(response(answer).body.toString());
export const failsWith = (...codes: string[]) => async (target: Target): Promise<void> => void failure(await target.invoke(), ...codes);

export function everyByte(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8)) & 255;
  return bytes;
}
