# How events, responses and errors look to a Perl function: Lambda's function URLs, payload 2.0. A hash with statusCode is the whole response (headers: an array
# repeats one; cookies; body: text, or base64 with isBase64Encoded, or JSON); anything else is 200 with its JSON text.
package Flashd::Payload;
use v5.36;
use MIME::Base64 ();
use Time::HiRes ();

use constant { META_MAX => 1 << 20, BODY_MAX => 64 << 20, MONOTONIC => Time::HiRes::CLOCK_MONOTONIC() };

sub now() { Time::HiRes::clock_gettime(MONOTONIC) }

sub event($meta, $body, $binary) {
  utf8::decode($meta);
  my $event = Flashd::JSON::decode($meta);
  $event->{isBase64Encoded} = $binary;
  if ($body ne '') {
    if ($binary) { $body = MIME::Base64::encode_base64($body, '') }
    else { utf8::decode($body) }
    $event->{body} = $body;
  }
  return $event;
}

# Status, meta and body of a RESPONSE frame. Dies when the result breaks the rules.
sub response($result) {
  my ($status, $meta, $body) = (200, '', undef);
  if (ref $result eq 'HASH' && exists $result->{statusCode}) {
    $status = $result->{statusCode} // '';
    $status =~ /\A[2-5]\d\d\z/ or die "statusCode $status is not between 200 and 599\n";
    $meta = headers($result);
    $body = $result->{body} // '';
    if ($result->{isBase64Encoded}) {
      $body =~ m{\A[A-Za-z0-9+/\s]*=*\s*\z} or die "the body is not base64\n";
      $body = MIME::Base64::decode_base64($body);
    } else {
      $body = Flashd::JSON::encode($body) if ref $body;
      utf8::encode($body);
    }
  } else {
    $meta = "content-type\0application/json\0";
    $body = Flashd::JSON::encode($result);
    utf8::encode($body);
  }
  utf8::encode($meta);
  die "the response is too large\n" if length $meta > META_MAX || length $body > BODY_MAX;
  return ($status, $meta, $body);
}

sub headers($result) {
  my ($meta, $typed) = ('', 0);
  my $given = $result->{headers} // {};
  for my $name (sort keys %$given) {
    $typed ||= lc $name eq 'content-type';
    $meta .= "$name\0" . (ref $_ ? Flashd::JSON::encode($_) : $_ // '') . "\0" for ref $given->{$name} eq 'ARRAY' ? @{$given->{$name}} : $given->{$name};
  }
  $meta .= "set-cookie\0$_\0" for @{$result->{cookies} // []};
  $meta .= "content-type\0application/json\0" unless $typed;
  $meta =~ m{\A(?:[!#\$%&'*+.^_`|~0-9A-Za-z-]+\0[^\0-\x08\x0a-\x1f\x7f]*\0)*\z} or die "a header or a cookie has characters that HTTP does not allow\n";
  return $meta;
}

# ERROR meta: type, message, stack.
sub describe($error, $stack) {
  my ($type, $message) = (ref $error || 'Died', eval { "$error" } // 'its text could not be made');
  $message =~ s/ at \S+ line \d+\.?\n?\z//;
  return join '', map { my $part = $_; $part =~ s/\0/ /g; utf8::encode($part); substr($part, 0, META_MAX / 4) . "\0" } $type, $message =~ s/\n\z//r, $stack;
}

package Flashd::Context;

sub new($class, $config, $request_id, $left_ms) {
  return bless {
    function_name => $config->{function}, function_version => $config->{version}, memory_limit_in_mb => $config->{memory_bytes} >> 20, aws_request_id => $request_id,
    deadline => Flashd::Payload::now() + $left_ms / 1000,
  }, $class;
}

sub function_name($self) { $self->{function_name} }
sub function_version($self) { $self->{function_version} }
sub memory_limit_in_mb($self) { $self->{memory_limit_in_mb} }
sub aws_request_id($self) { $self->{aws_request_id} }

sub get_remaining_time_in_millis($self) {
  my $left = int(($self->{deadline} - Flashd::Payload::now()) * 1000);
  return $left > 0 ? $left : 0;
}

1;
