/** What every language must do, once: each case names a fixture directory and says what a client sees. Requests, responses, errors and limits here; what a process may do in process-cases.ts. */
import assert from 'node:assert/strict';
import { everyByte, failsWith, failure, json, response, type Case } from './case.ts';
import { isLambda, LANGUAGES, SECRETS, type Language } from './fixtures.ts';
import { PROCESS_CASES } from './process-cases.ts';
import { headerValues } from './target.ts';

const NOT_LOADED = { executable: 'a process per request: nothing is loaded before it' };
const NO_SOCKET = { executable: 'the data socket stays with the host that starts it' };

const UNREAD = Object.fromEntries(LANGUAGES.filter((language) => language !== 'executable').map((language) => [language, 'the shim has read the request before the handler is called']));

/** Where the fixture raises its error, and where that was called: [file, line] from the inside out. */
type Frames = Readonly<Record<Language, readonly (readonly [string, number])[]>>;
const CALL_FRAMES: Frames = {
  python: [['handler.py', 2], ['handler.py', 6]], node: [['index.js', 2], ['index.js', 5]], java: [['Handler.java', 10], ['Handler.java', 6]],
  ruby: [['handler.rb', 1], ['handler.rb', 3]], php: [['handler.php', 2], ['handler.php', 4]], perl: [['handler.pl', 1], ['handler.pl', 3]],
};
const LOAD_FRAMES: Frames = {
  python: [['handler.py', 2], ['handler.py', 5]], node: [['index.mjs', 2], ['index.mjs', 5]], java: [['Handler.java', 9], ['Handler.java', 5]],
  ruby: [['handler.rb', 1], ['handler.rb', 3]], php: [['handler.php', 2], ['handler.php', 4]], perl: [['handler.pl', 1], ['handler.pl', 3]],
};
/** What is broken has a place in a file, except where it is no text that is broken: an object that does not link, an archive, an unknown format. */
const SYNTAX: Readonly<Record<Language, RegExp>> = {
  python: /handler\.py.*line 1/s, node: /index\.js:3/, ruby: /handler\.rb:\d/, php: /handler\.php\(2\)/, perl: /handler\.pl line 1/,
  java: /handler\.jar|zip/, native: /no_such_function/, executable: /cannot be executed/,
};

/** Every frame in one line (Python has the innermost last), in that order, and none of the shim's. */
function checkStack(stack: string, language: Language, frames: Frames): void {
  assert.doesNotMatch(stack, /bootstrap|\/opt\/flashd|src\/runtimes|\bflashd\.[A-Z]|node:internal/);
  const lines = stack.split('\n');
  const places = frames[language]!.map(([file, line]) => lines.findIndex((text) => new RegExp(`\\b${file.replace('.', '\\.')}\\b\\D{1,8}${line}\\b`).test(text)));
  assert.ok(places.every((place) => place >= 0), `${JSON.stringify(frames[language])} are not all in\n${stack}`);
  assert.deepEqual(places, places.toSorted((one, other) => (language === 'python' ? other - one : one - other)), stack);
}

export const CASES: readonly Case[] = [
  {
    title: 'the request arrives in full', fixture: 'echo',
    async run(target, language) {
      const headers = { host: 'localhost', 'user-agent': 'conformance', 'content-type': 'text/plain', 'x-test': 'a, b', proxy: 'evil' };
      const answer = await target.invoke({ method: 'POST', path: '/a%20b/c', query: 'q=1&q=2', headers, body: Buffer.from('héllo') });
      if (isLambda(language)) {
        const event = json(answer);
        assert.equal(event.version, '2.0');
        assert.ok(event.rawPath.endsWith('/a%20b/c'), event.rawPath);
        assert.equal(event.rawQueryString, 'q=1&q=2');
        assert.equal(event.requestContext.http.method, 'POST');
        assert.equal(event.headers['x-test'], 'a, b');
        assert.equal(event.body, 'héllo');
        assert.equal(event.isBase64Encoded, false);
        return;
      }
      const text = response(answer).body.toString();
      assert.match(text, language === 'native' ? /^POST \S*\/a%20b\/c \? q=1&q=2\n/ : /^POST \S*\/a b\/c \? q=1&q=2\n/);
      assert.match(text, /\nclient \S+\nid \S+\n/);
      assert.match(text, /\nx-test: a, b\n/);
      assert.match(text, /\nuser-agent is conformance\n/);
      assert.match(text, /body of 6: héllo$/);
      if (language === 'executable') assert.match(text, /\nproxy is \[\]\n/);
    },
  },
  {
    title: 'a binary body comes back unchanged', fixture: 'body',
    async run(target) {
      const body = everyByte(100_000);
      const headers = { host: 'localhost', 'content-type': 'application/octet-stream' };
      const answer = response(await target.invoke({ method: 'POST', headers, body, binary: true }));
      assert.equal(answer.status, 200);
      assert.deepEqual(headerValues(answer, 'content-type'), ['application/octet-stream']);
      assert.ok(answer.body.equals(body));
    },
  },
  {
    title: 'a body of 5 MB comes back unchanged, and small ones after it', fixture: 'body',
    async run(target) {
      const headers = { host: 'localhost', 'content-type': 'application/octet-stream' };
      for (const size of [5_000_000, 1, 0, 65_536, 70_000]) {
        const body = everyByte(size);
        assert.ok(response(await target.invoke({ method: 'POST', headers, body, binary: size > 0 })).body.equals(body), `${size} bytes`);
      }
    },
  },
  {
    title: 'status, repeated headers and cookies reach the client', fixture: 'headers',
    async run(target) {
      const answer = response(await target.invoke());
      assert.equal(answer.status, 418);
      assert.deepEqual(headerValues(answer, 'x-one'), ['a']);
      assert.deepEqual(headerValues(answer, 'x-many').join(', '), 'b, c');
      assert.deepEqual(headerValues(answer, 'x-number'), ['5']);
      assert.deepEqual(headerValues(answer, 'set-cookie'), ['d=e; Path=/', 'f=g']);
      assert.equal(headerValues(answer, 'content-type').length, 1);
      assert.equal(answer.body.toString(), 'teapot');
    },
  },
  {
    title: 'a response of 5 MB arrives whole', fixture: 'large',
    async run(target) {
      const { body } = response(await target.invoke());
      assert.equal(body.length, 5 << 20);
      assert.ok(body.every((byte) => byte === 120));
    },
  },
  {
    title: 'code that does not compile, link or execute is a load failure that says where', fixture: 'load-syntax',
    async run(target, language) {
      const { message, stack } = failure(await target.invoke(), 'function_load_failed');
      assert.match(`${message}\n${stack}`, SYNTAX[language]!);
    },
  },
  {
    title: 'an error while loading is told with its text and stack, to every request', fixture: 'load-throws', absent: NOT_LOADED,
    async run(target, language) {
      for (let i = 0; i < 2; i++) {
        const error = failure(await target.invoke(), 'function_load_failed');
        assert.match(error.message, isLambda(language) ? /no luck today/ : /returned 7/);
        if (isLambda(language)) checkStack(error.stack, language, LOAD_FRAMES);
      }
    },
  },
  {
    title: 'an error in a call is told with its text and stack, and the next call is answered', fixture: 'call-throws', frozen: { failing: true },
    async run(target, language) {
      for (let i = 0; i < 2; i++) {
        const error = failure(await target.invoke(), language === 'executable' ? 'function_exited' : 'function_error');
        assert.match(language === 'executable' ? error.stack : error.message, /missing thing/);
        if (!isLambda(language)) continue; // C has no stack to tell
        assert.match(error.stack, /inner/);
        checkStack(error.stack, language, CALL_FRAMES);
        if (language === 'python') assert.equal(error.type, 'KeyError');
      }
    },
  },
  { title: 'a missing entry point is told as such', fixture: 'no-symbol', absent: { executable: 'it is its own entry point' }, async run(target, language) {
    assert.match(failure(await target.invoke(), 'handler_not_found').message, isLambda(language) ? /handle/ : /flashd_handle/);
  } },
  { title: 'leaving the process is the end of the instance and an error of the function', fixture: 'exits', absent: { native: 'exit() ends the process there and then, as in the next case' }, run: failsWith('function_exited') },
  { title: 'a process that exits in a call is an error of the function', fixture: 'exits-hard', absent: { executable: 'the end of its process is the end of the request: see the case before' }, run: failsWith('function_exited') },
  { title: 'a crash by a signal is an error of the function', fixture: 'crashes', async run(target, language) {
    failure(await target.invoke(), language === 'executable' ? 'function_exited' : 'function_crashed');
  } },
  { title: 'a function that never returns is stopped at its deadline', fixture: 'hangs', sandboxed: true, async run(target) {
    const started = performance.now();
    failure(await target.invoke(), 'function_timeout');
    assert.ok(performance.now() - started < 1000);
  } },
  { title: 'a result that cannot be sent is an error of the function', fixture: 'bad-response', run: failsWith('response_invalid') },
  { title: 'a header cannot smuggle another one in', fixture: 'bad-header', run: failsWith('response_invalid') },
  {
    title: 'the environment of the manifest is set, values with = too', fixture: 'environment', frozen: {},
    async run(target) {
      const { greeting, home, cwd, child } = json(await target.invoke());
      assert.deepEqual([greeting, child], ['hello = world', 'hello = world']);
      assert.ok(home.startsWith('/') && cwd.startsWith('/'));
    },
  },
  { title: 'a secret of the function is in its environment', fixture: 'secret', async run(target) {
    assert.deepEqual(json(await target.invoke()), { token: SECRETS.TOKEN, greeting: 'hello' });
  } },
  {
    title: 'the context knows the function, the request, the time left and the memory there is', fixture: 'context', frozen: {},
    async run(target, language) {
      const context = json(await target.invoke());
      assert.match(context.function, new RegExp(`${language}-context$`));
      assert.match(context.version, /^[0-9a-f]{16}$/);
      assert.ok(context.requestId.length > 8);
      assert.ok(context.left > 0 && context.left <= 60_000, String(context.left));
      assert.equal(Number(context.memory), 128);
    },
  },
  {
    title: 'what runs in the background goes on after the response and does not delay it', fixture: 'background',
    async run(target, language) {
      const started = performance.now();
      const first = json(await target.invoke());
      assert.ok(performance.now() - started < 3000);
      await new Promise((resolve) => setTimeout(resolve, 100));
      if (language !== 'executable') assert.ok(json(await target.invoke()) > first);
    },
  },
  { title: 'child processes can be started', fixture: 'children', frozen: {}, async run(target) {
    assert.equal(json(await target.invoke()), 'from a child\n');
  } },
  { title: '/tmp can be written and read', fixture: 'tmp', frozen: {}, async run(target) {
    assert.deepEqual(json(await target.invoke()), { read: 'kept', in: '/tmp' });
  } },
  { title: 'packages beside the handler can be imported', fixture: 'vendored', async run(target) {
    assert.equal(json(await target.invoke()), 42);
  } },
  { title: 'an executable may leave its input unread', fixture: 'unread', absent: UNREAD, async run(target) {
    assert.equal(response(await target.invoke({ method: 'POST', body: everyByte(1_000_000), binary: true })).body.toString(), 'did not read\n');
  } },
  {
    title: 'output goes to the log', fixture: 'logs', frozen: {},
    async run(target, language) {
      assert.equal(json(await target.invoke()), 1);
      const logs = await target.logs();
      for (const text of language === 'executable' ? ['to stderr'] : ['to stdout', 'to stderr', 'no newline']) assert.ok(logs.includes(text), logs);
    },
  },
  {
    title: 'random values never repeat between instances', fixture: 'random', sandboxed: true,
    async run(target) {
      const answers = await Promise.all(Array.from({ length: 8 }, () => target.invoke()));
      const values = answers.flatMap((answer) => json(answer).map(String) as string[]);
      assert.equal(new Set(values).size, values.length);
    },
  },
  { title: 'garbage on the data socket is an error of the function', fixture: 'garbage', absent: NO_SOCKET, run: failsWith('function_protocol_error') },
  { title: 'closing the data socket is an error of the function', fixture: 'closed', absent: NO_SOCKET, run: failsWith('function_protocol_error', 'function_exited') },
  { title: '100 MB of output do not block the function', fixture: 'flood', async run(target) {
    assert.equal(json(await target.invoke()), 'done');
  } },
  { title: 'memory beyond the limit is the end of the instance', fixture: 'memory', sandboxed: true, async run(target, language) {
    failure(await target.invoke(), 'function_out_of_memory', language === 'executable' ? 'function_exited' : 'function_error'); // the kernel may end the program alone
  } },
  { title: 'forking without end meets the limit', fixture: 'forks', sandboxed: true, async run(target) {
    const { made, error } = json(await target.invoke());
    assert.ok(made < 32, String(made));
    assert.equal(error, 11);
  } },
  { title: 'filling /tmp meets the limit', fixture: 'fill-tmp', sandboxed: true, async run(target) {
    const { written, error } = json(await target.invoke());
    assert.ok(written <= 8 << 20, String(written));
    assert.equal(error, 28);
  } },
  ...PROCESS_CASES,
];
