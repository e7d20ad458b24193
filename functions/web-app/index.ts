/**
 * A small web app in Hono, behind Hono's own adapter for AWS Lambda, which fits as it is: routes, middleware, forms, cookies. What it remembers is in the visitor's cookie: an instance may end
 * after any request, and others know nothing of it.
 *   curl http://127.0.0.1:8080/function/web-app/api/colours/336699
 *   or in a browser: http://127.0.0.1:8080/function/web-app
 */
import { Hono } from 'hono';
import { handle } from 'hono/aws-lambda';
import { getCookie, setCookie } from 'hono/cookie';
import { html } from 'hono/html';

type Colour = { hex: string; rgb: number[]; text: 'black' | 'white' };

/** Black or white, whatever can be read on it (relative luminance as WCAG has it). */
function colour(hex: string): Colour | undefined {
  if (!/^[0-9a-f]{6}$/i.test(hex)) return undefined;
  const rgb = [0, 2, 4].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
  const [red, green, blue] = rgb.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4)) as [number, number, number];
  return { hex: hex.toLowerCase(), rgb, text: 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? 'black' : 'white' };
}

const app = new Hono();

app.use(async (c, next) => {
  await next();
  c.header('x-content-type-options', 'nosniff');
});

app.get('/', (c) => {
  const asked = c.req.query('hex') ?? getCookie(c, 'colour') ?? '336699';
  const { hex, text } = colour(asked) ?? colour('336699')!;
  setCookie(c, 'colour', hex, { httpOnly: true, sameSite: 'Lax', maxAge: 86_400 });
  return c.html(html`<!doctype html>
    <title>Colours</title>
    <body style="background: #${hex}; color: ${text}; font: 2em sans-serif; text-align: center">
      <p>${colour(asked) ? `#${hex}` : `“${asked}” is not a colour`}</p>
      <form><input name="hex" value="${hex}" pattern="[0-9A-Fa-f]{6}" autofocus> <button>Show</button></form>
    </body>`);
});

app.get('/api/colours/:hex', (c) => {
  const found = colour(c.req.param('hex'));
  return found ? c.json(found) : c.json({ error: 'six hexadecimal digits, please' }, 400);
});

app.post('/api/colours', async (c) => {
  const given = await c.req.json<unknown>().catch(() => undefined);
  return Array.isArray(given) ? c.json(given.map((each) => colour(String(each)) ?? null)) : c.json({ error: 'a JSON list of colours, please' }, 400);
});

export const handler = handle(app);
