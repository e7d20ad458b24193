# Answers any request with a greeting: the smallest function there is.
use strict;
use warnings;

sub handler {
  my ($event, $context) = @_;
  my $name = ($event->{queryStringParameters} // {})->{name} // 'world';
  return { message => "Hello, $name!", path => $event->{rawPath}, requestId => $context->aws_request_id };
}

1;
