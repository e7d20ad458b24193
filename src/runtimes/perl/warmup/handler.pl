# The function a template runs while it boots: what most handlers do, so that this has been done before.
use strict;
use warnings;

sub handler {
  my ($event, $context) = @_;
  print '';
  return { path => $event->{rawPath}, home => $ENV{HOME}, one => 1, list => [1, 'two'] } unless exists $event->{body};
  return { statusCode => 200, headers => { 'content-type' => 'text/plain' }, cookies => ['a=b'], body => 'left ' . $context->get_remaining_time_in_millis };
}

1;
