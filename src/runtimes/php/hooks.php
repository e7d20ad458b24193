<?php
/** Hooks around a function template: what was registered first runs last before the freeze, and first after the fork. */
declare(strict_types=1);

namespace Flashd;

final class Hooks
{
  private static array $hooks = ['before_snapshot' => [], 'after_restore' => []];

  public static function add(string $when, callable $hook): void
  {
    self::$hooks[$when][] = $hook;
  }

  public static function run(string $when): void
  {
    $hooks = self::$hooks[$when];
    foreach ($when === 'before_snapshot' ? array_reverse($hooks) : $hooks as $hook) $hook();
  }
}

function before_snapshot(callable $hook): void
{
  Hooks::add('before_snapshot', $hook);
}

function after_restore(callable $hook): void
{
  Hooks::add('after_restore', $hook);
}
