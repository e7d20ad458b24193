/** What a conformance case talks to: a function, behind a shim started directly or behind the packaged flashd. Both answer in the same terms. */
export type Request = {
  method?: string;
  path?: string;
  query?: string;
  headers?: Record<string, string>;
  body?: Buffer;
  /** The body is not text. */
  binary?: boolean;
};

export type Answer =
  | { kind: 'response'; status: number; headers: [string, string][]; body: Buffer }
  /** code: of src/errors. stack and message are empty when the instance said nothing. */
  | { kind: 'error'; code: string; type: string; message: string; stack: string };

export interface Target {
  /** Every request is answered by a fork of a function template that has been frozen for at least so long. */
  readonly frozenMs?: number;
  invoke(request?: Request): Promise<Answer>;
  /** Everything written to stdout and stderr so far. */
  logs(): Promise<string>;
  close(): Promise<void>;
}

export function headerValues(answer: Answer, name: string): string[] {
  if (answer.kind !== 'response') return [];
  return answer.headers.filter(([header]) => header.toLowerCase() === name).map(([, value]) => value);
}
