<?php
/** Answers any request with a greeting: the smallest function there is. */
function handler(array $event, Context $context): array
{
  $name = $event['queryStringParameters']['name'] ?? 'world';
  return ['message' => "Hello, $name!", 'path' => $event['rawPath'], 'requestId' => $context->aws_request_id];
}
