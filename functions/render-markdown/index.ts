/**
 * POST Markdown, get HTML. The text is a stranger's: raw HTML in it is shown as text, and links lead only to http, https and mailto.
 *   curl --data-binary @README.md http://127.0.0.1:8080/function/render-markdown
 */
import { Marked, type Tokens } from 'marked';

type Event = { body?: string; isBase64Encoded: boolean; requestContext: { http: { method: string } } };

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escape = (text: string): string => text.replace(/[&<>"']/g, (character) => ESCAPES[character]!);
const isSafe = (address: string): boolean => !/^[a-z][a-z0-9+.-]*:/i.test(address.trim()) || /^(https?|mailto):/i.test(address.trim());

const marked = new Marked({
  gfm: true,
  walkTokens: (token) => {
    if ((token.type === 'link' || token.type === 'image') && !isSafe((token as Tokens.Link).href)) (token as Tokens.Link).href = '#';
  },
  renderer: { html: ({ text }) => escape(text) },
});

export const handler = async (event: Event) => {
  if (event.requestContext.http.method !== 'POST') return { statusCode: 405, headers: { allow: 'POST' }, body: 'POST Markdown\n' };
  const text = event.isBase64Encoded ? Buffer.from(event.body ?? '', 'base64').toString() : (event.body ?? '');
  return { statusCode: 200, headers: { 'content-type': 'text/html; charset=utf-8' }, body: await marked.parse(text) };
};
