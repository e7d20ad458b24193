<?php
/** The start of functions/hello-php as a program of its own: what the peers of a cold start run. */
class Context
{
  public string $aws_request_id = '1';
}

require __DIR__ . '/handler.php';
echo json_encode(handler(['rawPath' => '/'], new Context())), "\n";
