<?php
/**
 * How events, responses and errors look to a PHP function: Lambda's function URLs, payload 2.0. An array with statusCode is the whole response (headers: an
 * array repeats one; cookies; body: text, or base64 with isBase64Encoded, or JSON); anything else is 200 with its JSON text.
 */
declare(strict_types=1);

namespace Flashd {
  const META_MAX = 1 << 20, BODY_MAX = 64 << 20;
  const JSON = JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION;
  const HEADERS = "/\\A(?:[!#\$%&'*+.^_`|~0-9A-Za-z-]+\\0[^\\0-\\x08\\x0a-\\x1f\\x7f]*\\0)*\\z/";

  function decodeEvent(string $meta, string $body, bool $binary): array
  {
    $event = json_decode($meta, true, 512, JSON_THROW_ON_ERROR);
    $event['isBase64Encoded'] = $binary;
    if ($body !== '') $event['body'] = $binary ? base64_encode($body) : (preg_match('//u', $body) ? $body : iconv('UTF-8', 'UTF-8//IGNORE', $body));
    return $event;
  }

  /** Status, meta and body of a RESPONSE frame. Throws when the result breaks the rules. */
  function encodeResponse(mixed $result): array
  {
    if (!is_array($result) || !array_key_exists('statusCode', $result)) return [200, "content-type\0application/json\0", encodeJson($result)];
    $status = filter_var($result['statusCode'], FILTER_VALIDATE_INT, ['options' => ['min_range' => 200, 'max_range' => 599]]);
    if ($status === false) throw new \ValueError('statusCode is not between 200 and 599');
    $meta = encodeHeaders($result);
    $body = $result['body'] ?? '';
    if ($result['isBase64Encoded'] ?? false) $body = base64_decode($body, true);
    elseif (!is_string($body)) $body = encodeJson($body);
    if ($body === false) throw new \ValueError('the body is not base64');
    if (strlen($meta) > META_MAX || strlen($body) > BODY_MAX) throw new \ValueError('the response is too large');
    return [$status, $meta, $body];
  }

  /** json_encode makes an empty object of what it does not know. */
  function encodeJson(mixed $value): string
  {
    if (is_array($value)) array_walk_recursive($value, refuseStrange(...));
    else refuseStrange($value);
    return json_encode($value, JSON);
  }

  function refuseStrange(mixed $value): void
  {
    if ($value instanceof \Closure || is_resource($value)) throw new \ValueError('a value of type ' . get_debug_type($value) . ' has no JSON form');
  }

  function encodeHeaders(array $result): string
  {
    [$meta, $typed] = ['', false];
    foreach ($result['headers'] ?? [] as $name => $values) {
      $typed = $typed || strtolower((string) $name) === 'content-type';
      foreach (is_array($values) ? $values : [$values] as $value) $meta .= "$name\0" . (is_string($value) ? $value : encodeJson($value)) . "\0";
    }
    foreach ($result['cookies'] ?? [] as $cookie) $meta .= "set-cookie\0$cookie\0";
    if (!$typed) $meta .= "content-type\0application/json\0";
    if (!preg_match(HEADERS, $meta)) throw new \ValueError('a header or a cookie has characters that HTTP does not allow');
    return $meta;
  }

  function describeError(\Throwable $error): string
  {
    $stack = "#0 {$error->getFile()}({$error->getLine()})\n";
    foreach ($error->getTrace() as $index => $frame) {
      // From here on it is the shim's own.
      if (str_starts_with($frame['class'] ?? $frame['function'], 'Flashd\\')) break;
      $name = ($frame['class'] ?? '') . ($frame['type'] ?? '') . $frame['function'];
      $stack .= '#' . ($index + 1) . ' ' . (str_starts_with($frame['file'] ?? '', __DIR__) ? '{main}' : ($frame['file'] ?? '') . '(' . ($frame['line'] ?? '') . ')') . ": $name()\n";
    }
    return describe(get_class($error), $error->getMessage(), $stack);
  }

  /** ERROR meta. */
  function describe(string $type, string $message, string $stack): string
  {
    return implode('', array_map(fn (string $part) => substr(str_replace("\0", ' ', $part), 0, META_MAX >> 2) . "\0", [$type, $message, $stack]));
  }
}

namespace {
  /** A handler's second argument, with Lambda's names. */
  final class Context
  {
    public readonly string $function_name;
    public readonly string $function_version;
    public readonly int $memory_limit_in_mb;
    private readonly int $deadline;

    public function __construct(array $config, public readonly string $aws_request_id, int $leftMs)
    {
      $this->function_name = $config['function'];
      $this->function_version = $config['version'];
      $this->memory_limit_in_mb = (int) $config['memory_bytes'] >> 20;
      $this->deadline = hrtime(true) + $leftMs * 1_000_000;
    }

    public function getRemainingTimeInMillis(): int
    {
      return max(0, intdiv($this->deadline - hrtime(true), 1_000_000));
    }
  }
}
