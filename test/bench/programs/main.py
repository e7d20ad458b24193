"""The start of functions/hello-python as a program of its own: what the peers of a cold start run."""
import json
import os
import sys
from types import SimpleNamespace

sys.path.insert(0, os.path.dirname(__file__))
from handler import handler

print(json.dumps(handler({'rawPath': '/'}, SimpleNamespace(aws_request_id='1'))))
