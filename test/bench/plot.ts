/** The result as one SVG: for each row its samples as light dots, a mark at p50, a line into the bad tail. Times on a logarithmic axis, throughput on a linear one. */
import type { Machine } from './machine.ts';
import { percentile, type Row, type Rows } from './rows.ts';
import { LANGUAGES, MAIN_LANGUAGES, type Language } from './series.ts';
import { DIVERSE_FACTORS, DIVERSE_KINDS, DIVERSE_LANGUAGES, type DiverseKind } from './systems/diverse.ts';
import { CONCURRENCIES, WARM_INSTANCES } from './systems/flashd.ts';
import { RESIDENTS } from './systems/residents.ts';

const WIDTH = 1080;
const LABELS = 250;
const VALUES = 190;
const LEFT = LABELS + 20;
const RIGHT = WIDTH - VALUES - 10;
const ROW = 24;
const DOTS_MAX = 300;
const FONT = 'font-family="DejaVu Sans, Verdana, sans-serif"';
const COLOURS: Readonly<Record<string, string>> = {
  flashd: '#d9480f', docker: '#1864ab', runc: '#2b8a3e', bwrap: '#862e9c', exec: '#5c636a', 'uws-bare': '#0b7285', workerd: '#c2255c', 'functions-framework': '#5f3dc4',
};
const TICKS = [1, 2, 5].flatMap(step => Array.from({ length: 8 }, (_, power) => step * 10 ** power)).sort((a, b) => a - b);

/** Which two percentiles show how bad it gets: high times, low throughputs. */
type Tail = readonly [tick: number, end: number];
const SLOW: Tail = [90, 99];
const FEW: Tail = [10, 1];

type Line = { readonly row: Row; readonly label: string; readonly system: string };
type Scale = { readonly at: (value: number) => number; readonly ticks: readonly { value: number; text: string }[]; readonly show: (value: number) => string; readonly tail: Tail };
type Panel = { readonly title: string; readonly note: string; readonly lines: readonly Line[]; readonly scale: Scale };

export function plot(machine: Machine, rows: Rows): string {
  const panels = makePanels(rows);
  const parts: string[] = [];
  let y = 76;
  for (const panel of panels) {
    parts.push(drawPanel(panel, y));
    y += 58 + panel.lines.length * ROW + 34;
  }
  const height = y + 10;
  const about = `${machine['cpu']}, ${machine['cores']} cores, kernel ${machine['kernel']}, ${String(machine['date']).slice(0, 10)}`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    text(24, 34, 'flashd and its peers', { size: 20, weight: 'bold' }),
    text(24, 56, `${about}. Disc: p50, tick: p90, end of the line: p99 (throughput: p10, p1), dots: single samples.`, { size: 12, fill: '#495057' }),
    ...parts,
    '</svg>\n',
  ].join('\n');
}

function makePanels(rows: Rows): Panel[] {
  const panels: Panel[] = [];
  const add = (title: string, note: string, wanted: readonly (readonly [name: string, label: string, system: string])[], makeScale: (rows: readonly Row[]) => Scale): void => {
    const lines = wanted.flatMap(([name, label, system]) => (rows.has(name) ? [{ row: rows.get(name)!, label, system }] : []));
    if (lines.length > 0) panels.push({ title, note, lines, scale: makeScale(lines.map(({ row }) => row)) });
  };
  for (const language of LANGUAGES) {
    const wanted = ['', '/gap-50ms'].flatMap(suffix => [
      [`cold/${language}/language-template${suffix}`, 'flashd', 'flashd'] as const,
      [`cold/${language}/spares-0${suffix}`, 'flashd, spares 0', 'flashd'] as const,
      ...['exec', 'bwrap', 'runc', 'docker'].map(system => [`${system}/${language}${suffix}`, SYSTEM_TEXT[system]!, system] as const),
    ].map(([name, label, system]) => [name, label + (suffix === '' ? '' : ', 50 ms apart'), system] as const));
    add(`${TITLES[language]}: a fresh instance`, 'flashd: first response at the HTTP client; the others: first byte of output', wanted, timeScale);
  }
  for (const language of MAIN_LANGUAGES) {
    const wanted = CONCURRENCIES.map(connections => [`cold/${language}/concurrency-${connections}`, `${connections} at once`, 'flashd'] as const);
    add(`${TITLES[language]}: fresh instances at once`, 'first response at the HTTP client, each connection with one start outstanding', wanted, timeScale);
  }
  add('C: fresh instances at once, each with a network', 'first response at the HTTP client; networks from the pool; grey: made when they are asked for, and none to be had', CONCURRENCIES.flatMap(connections => [
    [`network/pooled/concurrency-${connections}`, `${connections} at once, pooled`, 'flashd'] as const,
    [`network/fresh/concurrency-${connections}`, `${connections} at once, new`, 'exec'] as const,
    [`network/loopback/concurrency-${connections}`, `${connections} at once, none`, 'exec'] as const,
  ]), timeScale);
  for (const language of DIVERSE_LANGUAGES) {
    add(`${TITLES[language]}: more functions than there is room for`, 'response at the HTTP client, of one of them at random, with 1, 2 and 4 times as many functions as instances may live; grey: all of them boot the language',
      DIVERSE_FACTORS.flatMap(factor => DIVERSE_KINDS.map(kind => [`diverse/${language}/x${factor}/${kind}`, `${factor}×, ${DIVERSE_TEXT[kind]}`, kind === 'boot' ? 'exec' : 'flashd'] as const)), timeScale);
  }
  add('Beside noisy neighbours', 'response at the HTTP client; the grey one: while they are silent', [['noisy/loud', 'loud', 'flashd'], ['noisy/quiet', 'quiet', 'exec']], timeScale);
  add(`The first request to each of ${RESIDENTS} functions, from its standby`, 'first response at the HTTP client; the grey ones: one function per language', LANGUAGES.flatMap(language => [
    [`resident/${RESIDENTS}/${language}/first`, `${TITLES[language]}, ${RESIDENTS} functions`, 'flashd'] as const,
    [`resident/${LANGUAGES.length}/${language}/first`, `${TITLES[language]}, ${LANGUAGES.length} functions`, 'exec'] as const,
  ]), timeScale);
  const peers = ['uws-bare', 'workerd', 'functions-framework'] as const;
  add('A warm request at one connection', 'response at the HTTP client', [
    ['warm/c/latency', 'flashd, C', 'flashd'], ['warm/python/latency', 'flashd, Python', 'flashd'],
    ...peers.map(peer => [`warm/${peer}/latency`, SYSTEM_TEXT[peer]!, peer] as const),
  ], timeScale);
  add('Warm throughput at 32 connections', 'requests a second in windows of 100 ms', [
    ...WARM_INSTANCES.map((instances) => [`warm/c/instances-${instances}/throughput`, `flashd, ${instances} instances in C`, 'flashd'] as const),
    ['warm/python/instances-4/throughput', 'flashd, 4 instances in Python', 'flashd'],
    ...peers.map(peer => [`warm/${peer}/throughput`, SYSTEM_TEXT[peer]!, peer] as const),
  ], rateScale);
  return panels;
}

const TITLES: Readonly<Record<Language, string>> = { python: 'Python', c: 'C', node: 'Node.js', java: 'Java', ruby: 'Ruby', php: 'PHP', perl: 'Perl' };

const DIVERSE_TEXT: Readonly<Record<DiverseKind, string>> = { 'reuse': 'reused', 'function-template': 'function template', 'language-template': 'language template', 'boot': 'boot' };

const SYSTEM_TEXT: Readonly<Record<string, string>> = {
  exec: 'plain exec, no isolation', bwrap: 'bwrap, namespaces only', runc: 'runc run', docker: 'docker run',
  'uws-bare': 'bare uWebSockets.js', workerd: 'workerd', 'functions-framework': 'functions-framework',
};

function timeScale(rows: readonly Row[]): Scale {
  const low = Math.log10(Math.min(...rows.map(row => Math.max(1, row.min))) * 0.9);
  const high = Math.log10(Math.max(...rows.map(row => row.max)) * 1.1);
  const at = (us: number) => LEFT + ((Math.log10(Math.max(1, us)) - low) / (high - low)) * (RIGHT - LEFT);
  const ticks = TICKS.filter(us => Math.log10(us) >= low && Math.log10(us) <= high).map(us => ({ value: us, text: us >= 1000 ? `${us / 1000} ms` : `${us} µs` }));
  // Over many decades labels at 2 and 5 would run into each other.
  const sparse = high - low > 3 ? ticks.filter(({ value }) => Number.isInteger(Math.log10(value))) : ticks;
  return { at, ticks: sparse, show: us => (us >= 100_000 ? `${(us / 1000).toFixed(0)} ms` : us >= 1000 ? `${(us / 1000).toFixed(2)} ms` : `${us.toFixed(0)} µs`), tail: SLOW };
}

function rateScale(rows: readonly Row[]): Scale {
  const high = Math.max(...rows.map(row => row.max)) * 1.05;
  const step = TICKS.find(tick => high / tick <= 8)!;
  const ticks = Array.from({ length: Math.floor(high / step) + 1 }, (_, index) => ({ value: index * step, text: `${(index * step) / 1000} k/s` }));
  return { at: value => LEFT + (value / high) * (RIGHT - LEFT), ticks, show: value => `${(value / 1000).toFixed(1)} k/s`, tail: FEW };
}

function drawPanel({ title, note, lines, scale }: Panel, top: number): string {
  const first = top + 50;
  const bottom = first + lines.length * ROW;
  const parts = [text(24, top + 18, title, { size: 15, weight: 'bold' }), text(24, top + 36, note, { size: 11, fill: '#495057' })];
  for (const { value, text: label } of scale.ticks) {
    const x = scale.at(value).toFixed(1);
    parts.push(`<line x1="${x}" x2="${x}" y1="${first - 4}" y2="${bottom}" stroke="#dee2e6" stroke-width="1"/>`, text(Number(x), bottom + 15, label, { size: 10, fill: '#495057', anchor: 'middle' }));
  }
  parts.push(text(WIDTH - VALUES + 60, first - 8, 'p50', { size: 11, fill: '#495057', anchor: 'end' }), text(WIDTH - 24, first - 8, `p${scale.tail[1]}`, { size: 11, fill: '#495057', anchor: 'end' }));
  lines.forEach((line, index) => parts.push(drawLine(line, scale, first + index * ROW + ROW / 2)));
  return parts.join('\n');
}

function drawLine({ row, label, system }: Line, { at, show, tail }: Scale, y: number): string {
  const colour = COLOURS[system]!;
  const every = Math.max(1, Math.ceil(row.samples.length / DOTS_MAX));
  const dots = row.samples.filter((_, index) => index % every === 0).map((value, index) => {
    // Spread evenly over the row's height by the golden ratio, the same in each run.
    const offset = (((index * 0.618034) % 1) - 0.5) * (ROW - 9);
    return `<circle cx="${at(value).toFixed(1)}" cy="${(y + offset).toFixed(1)}" r="1.3"/>`;
  });
  const sorted = row.samples.toSorted((a, b) => a - b);
  const [tick, end] = tail.map(percent => percentile(sorted, percent / 100));
  const [x, tickX, endX] = [row.p50, tick!, end!].map(value => at(value).toFixed(1));
  return [
    text(LABELS, y + 4, label, { size: 12, anchor: 'end' }),
    `<g fill="${colour}" fill-opacity="0.22">${dots.join('')}</g>`,
    `<path d="M${x} ${y}H${endX}M${tickX} ${y - 5}v10M${endX} ${y - 3}v6" stroke="${colour}" stroke-width="1.6" fill="none"/>`,
    `<circle cx="${x}" cy="${y}" r="4.6" fill="${colour}" stroke="#ffffff" stroke-width="1.2"/>`,
    text(WIDTH - VALUES + 60, y + 4, show(row.p50), { size: 12, anchor: 'end', weight: system === 'flashd' ? 'bold' : 'normal' }),
    text(WIDTH - 24, y + 4, show(end!), { size: 12, anchor: 'end', fill: '#495057' }),
  ].join('\n');
}

type TextStyle = { readonly size: number; readonly weight?: string; readonly fill?: string; readonly anchor?: string };

function text(x: number, y: number, content: string, { size, weight = 'normal', fill = '#212529', anchor = 'start' }: TextStyle): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x}" y="${y}" ${FONT} font-size="${size}" font-weight="${weight}" fill="${fill}" text-anchor="${anchor}">${escaped}</text>`;
}
