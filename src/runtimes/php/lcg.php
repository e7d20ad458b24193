<?php
/**
 * The state of lcg_value() and uniqid(…, true), which PHP seeds once for ever and lets nobody seed again (ext/standard/lcg.c: two int32_t side by side). It is found by what it does: the
 * only place whose next step gives the value that is drawn next.
 */
declare(strict_types=1);

namespace Flashd;

final class Lcg
{
  private ?\FFI\CData $state = null;

  public function __construct()
  {
    lcg_value();
    $expected = [];
    foreach (self::ranges() as [$start, $end]) {
      $words = \FFI::cast('int32_t *', $start);
      for ($i = 0, $count = intdiv($end - $start, 4) - 1; $i < $count; $i++) {
        $first = $words[$i];
        if ($first > 0 && $words[$i + 1] > 0) $expected[(string) self::step($first, $words[$i + 1])][] = $start + 4 * $i;
      }
    }
    $found = $expected[(string) lcg_value()] ?? [];
    if (count($found) === 1) $this->state = \FFI::cast('int32_t *', $found[0]);
  }

  /** Static memory of PHP's own and the heap. */
  private static function ranges(): array
  {
    $ranges = [];
    $ours = false;
    foreach (file('/proc/self/maps') as $line) {
      [$range, $rights, , , , $path] = preg_split('/\s+/', $line);
      $ours = $path === '' ? $ours : $path === realpath(PHP_BINARY) || $path === '[heap]';
      if ($ours && $rights === 'rw-p') $ranges[] = array_map('hexdec', explode('-', $range));
    }
    return $ranges;
  }

  private static function step(int $s1, int $s2): float
  {
    $difference = 40014 * $s1 % 2147483563 - 40692 * $s2 % 2147483399;
    return ($difference < 1 ? $difference + 2147483562 : $difference) * 4.656613e-10;
  }

  /** In every instance. */
  public function renew(): void
  {
    if ($this->state !== null) [$this->state[0], $this->state[1]] = [random_int(1, 2147483562), random_int(1, 2147483398)];
  }
}
