/** Functions that take long to load, one for each kind of weight: a library in C with its Python around it, one large bundle, many classes. Written into a directory, with the command that runs the same from nothing. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { interpreter } from '../rootfs.ts';

export const HEAVY_LANGUAGES = ['python', 'node', 'java'] as const;
export type HeavyLanguage = (typeof HEAVY_LANGUAGES)[number];

const BUNDLE_FUNCTIONS = 20_000;
const CLASSES = 800;

const NUMPY = `import numpy, numpy.fft, numpy.linalg, numpy.ma, numpy.polynomial, numpy.testing
table = numpy.arange(65536, dtype=float).reshape(256, 256)


def handler(event, context):
  return float(numpy.linalg.norm(table[:4, :4]))
`;

function bundle(): string {
  const functions = Array.from({ length: BUNDLE_FUNCTIONS }, (_, index) =>
    `const step${index} = (value) => { const names = ["alpha-${index}", "beta-${index}", "gamma-${index}"]; return names.map((name, place) => name.length * place + value).reduce((sum, each) => sum + each, ${index}); };\nsteps.set("step-${index}", step${index});\n`);
  return `"use strict";\nconst steps = new Map();\n${functions.join('')}exports.handler = async () => steps.get("step-7")(1);\n`;
}

function javaSource(index: number): string {
  return `class Part${index} implements java.util.function.IntUnaryOperator {\n  private static final java.util.Map<String, Integer> NAMES = new java.util.HashMap<>();\n  static { for (int i = 0; i < 20; i++) NAMES.put("name-${index}-".concat(Integer.toString(i)), i); }\n  public int applyAsInt(int value) { return NAMES.size() * value + ${index}; }\n}\n`;
}

const JAVA_HANDLER = `public class Handler {
  private static final java.util.List<java.util.function.IntUnaryOperator> PARTS = new java.util.ArrayList<>();
  static {
    try {
      for (int i = 0; i < ${CLASSES}; i++) PARTS.add((java.util.function.IntUnaryOperator) Class.forName("Part" + i).getDeclaredConstructor().newInstance());
    } catch (ReflectiveOperationException error) {
      throw new ExceptionInInitializerError(error);
    }
  }
  public Object handle(java.util.Map<String, Object> event) { return PARTS.get(7).applyAsInt(1); }
  public static void main(String[] arguments) { System.out.println(new Handler().handle(null)); }
}
`;

/** Writes the function and returns what starts it from nothing and ends with a line of output. */
export function writeHeavy(language: HeavyLanguage, directory: string): readonly string[] {
  mkdirSync(directory, { recursive: true });
  switch (language) {
    case 'python':
      writeFileSync(join(directory, 'handler.py'), NUMPY);
      return ['/usr/bin/python3', '-B', '-c', `import sys; sys.path.insert(0, ${JSON.stringify(directory)}); import handler; print(handler.handler(None, None))`];
    case 'node':
      writeFileSync(join(directory, 'index.cjs'), bundle());
      return [interpreter('node'), '-e', `require(${JSON.stringify(join(directory, 'index.cjs'))}).handler().then(console.log)`];
    case 'java': {
      for (let index = 0; index < CLASSES; index++) writeFileSync(join(directory, `Part${index}.java`), javaSource(index));
      writeFileSync(join(directory, 'Handler.java'), JAVA_HANDLER);
      const classes = `${directory}-classes`;
      execFileSync('javac', ['-d', classes, '-sourcepath', directory, ...Array.from({ length: CLASSES }, (_, index) => join(directory, `Part${index}.java`)), join(directory, 'Handler.java')]);
      return [interpreter('java'), '-XX:+UseSerialGC', '-cp', classes, 'Handler'];
    }
  }
}
