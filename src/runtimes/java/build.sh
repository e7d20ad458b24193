#!/bin/sh
# Compiles the Java files of /function, with its jars on the class path, into one jar, which goes to stdout. The compiler's first words go into the error.
command -v javac >/dev/null || { echo 'there is no Java compiler on this machine (Debian: apt install openjdk-17-jdk-headless)' >&2; exit 1; }
cd /function || exit 1
quick='-J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -J-XX:-UsePerfData'
if ! find . -name '*.java' -print0 | xargs -0 javac $quick --release 17 -g -proc:none -XDstringConcat=inline -cp '/opt/flashd/java/flashd.jar:/function:/function/*:/function/lib/*' -d /tmp/classes >/tmp/messages 2>&1 ||
  ! jar $quick --create --no-manifest --no-compress --file /tmp/handler.jar -C /tmp/classes . >>/tmp/messages 2>&1; then
  head -c 1900 /tmp/messages >&2
  exit 1
fi
cat /tmp/handler.jar
