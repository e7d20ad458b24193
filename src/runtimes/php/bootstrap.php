<?php
/**
 * The PHP runtime's shim: boots once as a template, warms its own request loop, writes READY and waits in poll() on descriptor 3. Every instance is a fork that
 * wakes up in that poll() and reads INIT and REQUEST frames (native/include/flashd/frame.h is the protocol). PHP's streams would open the
 * descriptor a second time, so the C library is called directly, through FFI.
 * usage: bootstrap.php FUNCTION_DIRECTORY
 */
declare(strict_types=1);

namespace Flashd;

use Throwable;

require __DIR__ . '/hooks.php';
require __DIR__ . '/lcg.php';
require __DIR__ . '/payload.php';

const INIT = 1, REQUEST = 2, FREEZE = 4, READY = 129, RESPONSE = 130, ERROR = 131;
const NO_HANDLER = 1, LOAD = 2, CALL = 3, BAD_RESPONSE = 4, LEFT = 5;
const POLLIN = 1, POLLOUT = 4, BODY_BINARY = 1, HEADER_BYTES = 32, READ_BYTES = 64 << 10;
const HEADER = 'VVVvvVVVV', FIELDS = 'Vlength/Vmeta/Vid/vtype/vflags/Vaux/VloadUs/VhandlerUs/Vreserved';
const FATAL = E_ERROR | E_CORE_ERROR | E_COMPILE_ERROR | E_USER_ERROR | E_RECOVERABLE_ERROR;

final class Instance
{
  private string $data = '';
  private mixed $handler = null;
  private ?array $failure = null;
  private array $config = [];
  private int $loadUs = 0;
  private int $answering = 0;
  private int $pid = 0;
  private readonly \FFI\CData $ready;
  private readonly \FFI\CData $buffer;

  public function __construct(private readonly \FFI $libc, private readonly Lcg $lcg, private int $fd, private readonly string $root)
  {
    $this->ready = $libc->new('struct pollfd');
    $this->ready->fd = $fd;
    $this->buffer = $libc->new('char[' . READ_BYTES . ']');
  }

  public function send(int $kind, int $id, int $aux, string $meta, string $body = '', int $handlerUs = 0): void
  {
    $frame = pack(HEADER, strlen($meta) + strlen($body), strlen($meta), $id, $kind, 0, $aux, $this->loadUs, $handlerUs, 0) . $meta . $body;
    $this->loadUs = 0;
    for ($left = strlen($frame); $left > 0; $left -= $sent) {
      $sent = $this->libc->write($this->fd, $left === strlen($frame) ? $frame : substr($frame, -$left), $left);
      if ($sent < 0 && $this->wait(POLLOUT) & ~POLLOUT) $this->libc->_exit(1);
      $sent = max($sent, 0); // a signal of the function's
    }
  }

  public function serve(): void
  {
    while ([$header, $meta, $body] = $this->receive()) {
      if ($header['type'] === INIT) $this->start($meta);
      else $this->answer($header, $meta, $body);
    }
  }

  /** Waits in poll(), not in read(): the gateway's own reads would wake a blocked reader. */
  private function receive(): ?array
  {
    for ($needed = HEADER_BYTES, $header = null;;) {
      while (strlen($this->data) < $needed) {
        $this->wait(POLLIN);
        $count = $this->libc->read($this->fd, $this->buffer, READ_BYTES);
        if ($count <= 0) return null;
        $this->data .= \FFI::string($this->buffer, $count);
      }
      if ($header !== null) break;
      $header = unpack(FIELDS, $this->data);
      $needed += $header['length'];
    }
    $meta = substr($this->data, HEADER_BYTES, $header['meta']);
    $body = substr($this->data, HEADER_BYTES + $header['meta'], $header['length'] - $header['meta']);
    $this->data = substr($this->data, $needed);
    return [$header, $meta, $body];
  }

  /** What poll() says. errno would not tell a signal: by then the function's handler may have run. */
  private function wait(int $events): int
  {
    $this->ready->events = $events;
    while ($this->libc->poll(\FFI::addr($this->ready), 1, -1) < 0);
    return $this->ready->revents;
  }

  /** The generator takes 32 bits for a seed, of which ten thousand forks would have two that are the same once in a hundred times. How far it has gone from there adds eight. */
  private function renewRandom(): void
  {
    mt_srand(random_int(0, 0xffff_ffff));
    for ($steps = random_int(0, 255); $steps > 0; $steps--) mt_rand();
    $this->lcg->renew();
  }

  /** INIT. What every fork would repeat of the template is renewed first. */
  private function start(string $meta): void
  {
    $started = hrtime(true);
    $this->renewRandom();
    clearstatcache(true); // it knows where /proc/self led in the template
    $this->pid = getmypid();
    // In a fork of a function template it is loaded, and the rest is as this INIT says.
    if ($this->handler !== null || $this->failure) {
      $this->restored();
    } else {
      $this->configure($meta);
      set_include_path($this->root);
      $this->load("$this->root/{$this->config['handler']}", $this->config['symbol']);
    }
    $this->loadUs = intdiv(hrtime(true) - $started, 1000);
    // There is nobody to answer yet; a request that comes nevertheless is told the same.
    if ($this->failure && $this->data === '') $this->send(ERROR, 0, ...$this->failure);
  }

  private function configure(string $meta): void
  {
    foreach (explode("\0", rtrim($meta, "\0")) as $entry) {
      [$key, $value] = explode('=', $entry, 2);
      if (!str_starts_with($key, 'env.')) {
        $this->config[$key] = $value;
        continue;
      }
      $name = substr($key, 4);
      putenv("$name=$value");
      $_ENV[$name] = $_SERVER[$name] = $value;
    }
    if (getenv('TZ')) date_default_timezone_set(ltrim(getenv('TZ'), ':'));
  }

  private function restored(): void
  {
    try {
      Hooks::run('after_restore');
    } catch (Throwable $error) {
      $this->failure = [LOAD, describeError($error)];
    }
  }

  private function load(string $path, string $symbol): void
  {
    try {
      $returned = load($path);
      $this->handler = $returned instanceof \Closure ? $returned : (function_exists($symbol) ? $symbol : null);
      if ($this->handler === null) $this->failure = [NO_HANDLER, describe('HandlerNotFound', "there is no function '$symbol' in {$this->config['handler']}", '')];
    } catch (Throwable $error) {
      $this->failure = [LOAD, describeError($error)];
    }
  }

  private function answer(array $header, string $meta, string $body): void
  {
    if ($this->failure) {
      $this->send(ERROR, $header['id'], ...$this->failure);
      return;
    }
    [$fault, $spent, $started] = [CALL, null, hrtime(true)];
    $this->answering = $header['id'];
    try {
      $event = decodeEvent($meta, $body, (bool) ($header['flags'] & BODY_BINARY));
      $context = new \Context($this->config, $event['requestContext']['requestId'], $header['aux']);
      $started = hrtime(true);
      if ($header['type'] === FREEZE) Hooks::run('before_snapshot');
      $result = $header['type'] === REQUEST ? ($this->handler)($event, $context) : $event;  // a ping goes all the way but through the handler
      [$fault, $spent] = [BAD_RESPONSE, hrtime(true) - $started];
      $response = encodeResponse($result);
    } catch (Throwable $error) {
      $response = null;
    }
    $this->answering = 0;
    $handlerUs = intdiv($spent ?? hrtime(true) - $started, 1000);
    if ($response) $this->send(RESPONSE, $header['id'], ...[...$response, $handlerUs]);
    else $this->send(ERROR, $header['id'], $fault, describeError($error), '', $handlerUs);
  }

  /** exit() in the function, or an error that PHP does not let anyone catch. */
  public function leave(): void
  {
    if (getmypid() !== $this->pid) return; // a child of the function's
    $last = error_get_last();
    $fatal = $last !== null && $last['type'] & FATAL;
    $text = $fatal ? describe('Fatal error', $last['message'], "#0 {$last['file']}({$last['line']})\n") : describe('ExitError', 'the handler called exit', '');
    if ($this->answering) $this->send(ERROR, $this->answering, $fatal ? CALL : LEFT, $text);
    elseif ($fatal) $this->send(ERROR, 0, LOAD, $text);
    $this->libc->_exit(1);
  }
}

/** A scope of its own for the function's file. */
function load(string $path): mixed
{
  return require $path;
}

/** Runs a dummy function through this very code, then forgets it: what is compiled and allocated on the way is there in every fork. */
function warm(\FFI $libc, Lcg $lcg): void
{
  $init = "function=warmup\0version=0\0handler=handler.php\0symbol=handler\0memory_bytes=134217728\0env.LANG=C.UTF-8\0";
  $event = '{"version":"2.0","rawPath":"/","headers":{"host":"localhost"},"requestContext":{"http":{"method":"GET"},"requestId":"' . str_repeat('0', 36) . '"}}';
  $ends = $libc->new('int[2]');
  for ($round = 0; $round < 16; $round++) {
    $libc->socketpair(1, 1, 0, $ends);
    $frames = pack(HEADER, strlen($init), strlen($init), 0, INIT, 0, 0, 0, 0, 0) . $init;
    foreach (['', 'text'] as $body) $frames .= pack(HEADER, strlen($event) + strlen($body), strlen($event), 1, REQUEST, 0, 1000, 0, 0, 0) . $event . $body;
    $libc->write($ends[1], $frames, strlen($frames));
    $libc->shutdown($ends[1], 1);
    (new Instance($libc, $lcg, $ends[0], __DIR__ . '/warmup'))->serve();
    $libc->close($ends[0]);
    $libc->close($ends[1]);
  }
}

$libc = \FFI::cdef('
  struct pollfd { int fd; short events, revents; };
  int poll(struct pollfd *fds, unsigned long count, int timeout);
  long read(int fd, char *bytes, unsigned long count);
  long write(int fd, const char *bytes, unsigned long count);
  int socketpair(int domain, int type, int protocol, int *ends);
  int shutdown(int fd, int how);
  int close(int fd);
  void _exit(int status);
', 'libc.so.6');
// PHP keeps this script open; it has been read to its end, and _exit() is the only way out.
foreach (glob('/proc/self/fd/*') as $link) if (@readlink($link) === __FILE__) $libc->close((int) basename($link));
putenv('USE_ZEND_ALLOC_HUGE_PAGES');  // it was this process's own
unset($_SERVER['USE_ZEND_ALLOC_HUGE_PAGES'], $_ENV['USE_ZEND_ALLOC_HUGE_PAGES']);
$lcg = new Lcg();
warm($libc, $lcg);
gc_collect_cycles();
$instance = new Instance($libc, $lcg, 3, $argv[1]);
register_shutdown_function($instance->leave(...));
$instance->send(READY, 0, 0, '');
$instance->serve();
$libc->_exit(0);
