#!/bin/sh
# Installs what requirements.txt of /function names, and writes it to stdout as an archive. With a directory "wheels", everything comes from there. pip's last words go into the error.
cd /function || exit 1
/usr/bin/python3 -I -c 'import pip' 2>/dev/null || { echo 'there is no pip on this machine (Debian: apt install python3-pip)' >&2; exit 1; }
from=''
[ ! -d wheels ] || from='--no-index --find-links /function/wheels'
certificates=/etc/ssl/certs/ca-certificates.crt
[ ! -f $certificates ] || from="$from --cert $certificates"
clean='env -i PATH=/usr/bin:/bin HOME=/tmp TMPDIR=/tmp LANG=C.UTF-8 PIP_CONFIG_FILE=/dev/null SOURCE_DATE_EPOCH=315532800'
if ! $clean /usr/bin/python3 -I -m pip install --no-input --no-cache-dir --disable-pip-version-check --no-warn-script-location --root-user-action=ignore --progress-bar=off \
  --no-compile --prefer-binary --retries 2 --timeout 20 --target /tmp/packages $from -r requirements.txt >/tmp/messages 2>&1; then
  tail -c 1900 /tmp/messages >&2
  exit 1
fi
mkdir -p /tmp/packages
# Bytecode that is valid without a look at its source: imports cost a cold start neither the compiler nor that look. What does not compile (templates, other versions) is left as it is.
$clean /usr/bin/python3 -I -m compileall -q --invalidation-mode unchecked-hash -s /tmp -p /function /tmp/packages >/dev/null 2>&1
tar -C /tmp/packages --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cz .
