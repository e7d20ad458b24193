#!/bin/sh
# Bundles /function's entry point with what it imports, node_modules included, into one CommonJS file, which goes to stdout. The bundler's first words go into the error.
cd /function || exit 1
for entry in index.ts index.mts index.cts index.tsx handler.ts index.mjs index.js index.cjs handler.mjs handler.js handler.cjs; do
  [ ! -f "$entry" ] || break
done
if ! /opt/flashd/node/esbuild "$entry" --bundle --platform=node --target=node18 --format=cjs --log-limit=20 --outfile=/tmp/bundle >/tmp/messages 2>&1; then
  head -c 1900 /tmp/messages >&2
  exit 1
fi
cat /tmp/bundle
