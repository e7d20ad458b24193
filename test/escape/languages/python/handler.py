import ctypes
import errno
import os
import signal
import socket
import subprocess

libc = ctypes.CDLL(None, use_errno=True)


def connect(address):
    with socket.socket(socket.AF_UNIX) as end:
        end.connect(address.replace('@', '\0', 1))


def call(words):
    if libc.syscall(*map(ctypes.c_long, map(int, words.split()))) < 0:
        raise OSError(ctypes.get_errno(), '')


WAYS = {
    'read': lambda path: open(path, 'rb').close(), 'list': lambda path: ' '.join(sorted(os.listdir(path))), 'write': lambda path: open(path, 'ab').close(),
    'unix': connect, 'tcp': lambda port: socket.create_connection(('127.0.0.1', int(port))).close(), 'kill': lambda pid: os.kill(int(pid), signal.SIGKILL),
    'run': lambda command: subprocess.run(['sh', '-c', command], capture_output=True, text=True).stdout.strip(), 'call': call,
}


def attempt(way, target):
    try:
        found = WAYS[way](target)
        return 'done' if found is None else found
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def handler(event, context):
    return [attempt(*line.split('\t')) for line in event.get('body', '').splitlines()]
