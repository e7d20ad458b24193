<?php
// The function a template runs while it boots: what most handlers do, so that this has been done before.
return function (array $event, Context $context): array {
  echo '';
  if (!isset($event['body'])) return ['path' => $event['rawPath'], 'home' => getenv('HOME'), 'list' => [1, 'two', 2.5]];
  return ['statusCode' => 200, 'headers' => ['content-type' => 'text/plain'], 'cookies' => ['a=b'], 'body' => 'left ' . $context->getRemainingTimeInMillis()];
};
