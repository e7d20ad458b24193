<?php
function refused(): never
{
  preg_match('/([^:()]+?)(?: \(.*)?$/', error_get_last()['message'] ?? '?', $found);
  throw new RuntimeException(trim($found[1]));
}

function reach(string $address): ?string
{
  @stream_socket_client($address, $number, $why, 5) || throw new RuntimeException($why);
  return null;
}

function attempt(string $way, string $target): string
{
  error_clear_last();
  try {
    return match ($way) {
      'read' => @fopen($target, 'r') ? null : refused(),
      'list' => ($names = @scandir($target)) ? implode(' ', array_diff($names, ['.', '..'])) : refused(),
      'write' => @fopen($target, 'a') ? null : refused(),
      'unix' => reach('unix://' . preg_replace('/^@/', "\0", $target)),
      'tcp' => reach("tcp://127.0.0.1:$target"),
      'kill' => posix_kill((int)$target, 9) ? null : throw new RuntimeException(posix_strerror(posix_get_last_error())),
      'run' => trim((string)shell_exec($target)),
    } ?? 'done';
  } catch (RuntimeException $error) {
    return $error->getMessage();
  }
}

function handler(array $event, Context $context)
{
  return array_map(fn ($line) => attempt(...explode("\t", $line)), array_filter(explode("\n", $event['body'] ?? '')));
}
