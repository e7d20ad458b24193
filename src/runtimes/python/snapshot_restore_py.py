"""
Hooks around a function template, with the names that AWS Lambda gives them: what was registered first runs last before the freeze, and first after the fork.
"""
_before, _after = [], []


def register_before_snapshot(function, *args, **kwargs):
  _before.append((function, args, kwargs))


def register_after_restore(function, *args, **kwargs):
  _after.append((function, args, kwargs))


def run_before():
  for function, args, kwargs in reversed(_before):
    function(*args, **kwargs)


def run_after():
  for function, args, kwargs in _after:
    function(*args, **kwargs)
