/** The measuring HTTP client, a process of its own: see tools/http-client.c. */
import { programs } from '../workspace.ts';
import { output } from './program.ts';

/** Length of a window in which responses are counted under load. */
export const WINDOW_MS = 100;

export type HttpSample = { readonly us: number; readonly start: string; readonly timing: string };

/** A * in the path stands for the number of the request, from `first` on; with one connection only. prefix: a program that executes what follows. among: the number is one of so many, at random. */
export async function requests(port: number, path: string, connections: number, count: number, gapUs: number, first = 0, prefix: readonly string[] = [], among = 0): Promise<{ samples: HttpSample[]; elapsedMs: number }> {
  const [program, ...args] = [...prefix, programs.httpClient];
  const lines = (await output(program!, [...args, 'requests', ...[port, path, connections, count, gapUs, first, among].map(String)])).trim().split('\n');
  const elapsedMs = Number(lines.pop()!.slice(1)) / 1e6;
  const samples = lines.map(line => {
    const [ns, start, timing] = line.split('\t');
    return { us: Number(ns) / 1000, start: start!, timing: timing! };
  });
  return { samples, elapsedMs };
}

/** Requests a second in each of so many windows. */
export async function load(port: number, path: string, connections: number, windows: number): Promise<number[]> {
  const lines = await output(programs.httpClient, ['load', ...[port, path, connections, windows, WINDOW_MS].map(String)]);
  return lines.trim().split('\n').map(line => Number(line) * (1000 / WINDOW_MS));
}
