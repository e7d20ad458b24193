#!/bin/sh
# Compiles the C files of /function into one shared object, which goes to stdout. The compiler's first words go into the error.
compiler=$(command -v gcc || command -v cc || command -v clang) || { echo 'there is no C compiler on this machine (Debian: apt install gcc libc6-dev)' >&2; exit 1; }
cd /function || exit 1
if ! "$compiler" -O2 -fPIC -shared -I/opt/flashd/native -o /tmp/handler.so ./*.c >/tmp/messages 2>&1; then
  head -c 1900 /tmp/messages >&2
  exit 1
fi
cat /tmp/handler.so
