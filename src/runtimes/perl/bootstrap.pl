# The Perl runtime's shim: boots once as a template, warms its own request loop, writes READY and waits in select() on descriptor 3. Every instance is a fork that
# wakes up in that select() and reads INIT and REQUEST frames (native/include/flashd/frame.h is the protocol).
# usage: bootstrap.pl FUNCTION_DIRECTORY
package Flashd;
use v5.36;
use B ();
use Cwd ();
use Data::Dumper ();
use Digest::SHA ();
use Encode ();
use File::Spec ();
use File::Temp ();
use IO::File ();
use List::Util ();
use MIME::Base64 ();
use POSIX ();
use Scalar::Util ();
use Socket ();
use Storable ();
use Time::HiRes ();

use constant { INIT_FRAME => 1, REQUEST => 2, FREEZE => 4, READY => 129, RESPONSE => 130, ERROR => 131 };
use constant { NO_HANDLER => 1, LOAD => 2, CALL => 3, BAD_RESPONSE => 4, EXIT => 5 };
use constant { BODY_BINARY => 1, HEADER => 'VVVvvVVVV', HEADER_BYTES => 32, READ_BYTES => 64 << 10 };

my ($own) = __FILE__ =~ m{(.*)/};
require "$own/json.pl";
require "$own/payload.pl";

my ($channel, $waiting, $data, %config, $handler, $failure, $load_us, $answering, $pid, $stack);

# Hooks around a function template: Flashd::before_snapshot(sub { … }), Flashd::after_restore(sub { … }).
my (@before_snapshot, @after_restore);
sub before_snapshot($hook) { push @before_snapshot, $hook }
sub after_restore($hook) { push @after_restore, $hook }

sub fail() { POSIX::_exit(1) }

# The next frame's header fields, meta and body; nothing at the end. Waits in select(), not in read(): the gateway's own reads would wake a blocked reader.
sub receive() {
  my ($needed, @header) = HEADER_BYTES;
  while (1) {
    while (length $data < $needed) {
      next if select(my $ready = $waiting, undef, undef, undef) < 0 && $!{EINTR};    # a signal of the function's
      my $count = sysread $channel, $data, READ_BYTES, length $data;
      return unless $count || !defined $count && $!{EINTR};
    }
    if (@header) {
      my $meta = substr $data, HEADER_BYTES, $header[1];
      my $body = substr $data, HEADER_BYTES + $header[1], $header[0] - $header[1];
      $data = substr $data, $needed;
      return (\@header, $meta, $body);
    }
    @header = unpack HEADER, $data;
    $needed += $header[0];
  }
}

sub send_frame($kind, $id, $aux, $meta, $body = '', $handler_us = 0) {
  my $frame = pack(HEADER, length($meta) + length($body), length $meta, $id, $kind, 0, $aux, $load_us, $handler_us, 0) . $meta . $body;
  $load_us = 0;
  for (my $at = 0; $at < length $frame;) {
    my $sent = syswrite $channel, $frame, length($frame) - $at, $at;
    $at += $sent // ($!{EINTR} ? 0 : fail());
  }
}

# Called as the function dies: the frames are still there. Those of this shim are left out.
sub remember($error) {
  $stack = '';
  for (my $level = 0; my ($package, $file, $line) = caller $level; $level++) {
    my $in = (caller $level + 1)[3] // '';
    $stack .= "at $file line $line" . ($in =~ /\A(?:\(eval\)|)\z/ ? '' : ", in $in") . "\n" unless index($file, $own) == 0;
  }
}

sub load($file, $symbol) {
  my $path = "$config{root}/$file";
  local $SIG{__DIE__} = \&remember;
  ($@, $!, $stack) = ('', 0, '');
  package main;
  my $done = do $path;
  package Flashd;
  return $failure = [LOAD, Flashd::Payload::describe($@, $stack)] if $@;
  return $failure = [NO_HANDLER, Flashd::Payload::describe("$file cannot be read: $!", '')] if !defined $done && $!;
  $handler = main->can($symbol) or $failure = [NO_HANDLER, Flashd::Payload::describe("$file has no sub '$symbol'", '')];
}

# Perl takes 32 bits for a seed, of which ten thousand forks would have two that are the same once in a hundred times. How far its generator has gone from there adds eight.
sub renew_random() {
  srand;
  open my $random, '<:raw', '/dev/urandom' or return;
  sysread $random, my $steps, 1;
  rand for 1 .. ord $steps;
}

# INIT. What every fork would repeat of the template is renewed first.
sub start($meta) {
  my $started = Flashd::Payload::now();
  renew_random();
  $pid = $$;
  # In a fork of a function template it is loaded, and the rest is as this INIT says.
  if ($handler || $failure) {
    eval { $_->() for @after_restore; 1 } or $failure = [LOAD, Flashd::Payload::describe($@, '')];
  } else {
    for (split /\0/, $meta) {
      my ($key, $value) = split /=/, $_, 2;
      if ($key =~ s/\Aenv\.//) { $ENV{$key} = $value }
      else { $config{$key} = $value }
    }
    POSIX::tzset() if exists $ENV{TZ};
    unshift @INC, $config{root};
    load($config{handler}, $config{symbol});
  }
  $load_us = int((Flashd::Payload::now() - $started) * 1e6);
  send_frame(ERROR, 0, @$failure) if $failure && $data eq '';    # there is nobody to answer yet; a request that comes nevertheless is told the same
}

sub answer($header, $meta, $body) {
  my (undef, undef, $id, $kind, $flags, $left_ms) = @$header;
  return send_frame(ERROR, $id, @$failure) if $failure;
  my $event = Flashd::Payload::event($meta, $body, !!($flags & BODY_BINARY));
  my $context = Flashd::Context->new(\%config, $event->{requestContext}{requestId}, $left_ms);
  my ($started, $fault, $result, $spent) = (Flashd::Payload::now(), CALL);
  $answering = $id;
  my @response = eval {
    local $SIG{__DIE__} = \&remember;
    if ($kind == FREEZE) { $_->() for reverse @before_snapshot }
    $result = $kind == REQUEST ? $handler->($event, $context) : $event;    # a ping goes all the way but through the handler
    ($fault, $spent) = (BAD_RESPONSE, Flashd::Payload::now() - $started);
    Flashd::Payload::response($result);
  };
  my $error = $@;
  $answering = 0;
  $spent //= Flashd::Payload::now() - $started;
  STDOUT->flush;
  STDERR->flush;
  return send_frame(RESPONSE, $id, @response, int($spent * 1e6)) if @response;
  send_frame(ERROR, $id, $fault, Flashd::Payload::describe($error, $stack), '', int($spent * 1e6));
}

# exit() in the function, in this process and not in a child of it.
END {
  if ($answering && $$ == $pid) {
    my $status = $?;
    STDOUT->flush;
    send_frame(ERROR, $answering, EXIT, Flashd::Payload::describe("the handler called exit($status)", ''));
    POSIX::_exit(1);
  }
}

sub serve($handle, $root) {
  ($channel, $data, $failure, $load_us, $answering, $waiting) = ($handle, '', undef, 0, 0, '');
  %config = (root => $root);
  vec($waiting, fileno $channel, 1) = 1;
  while (my ($header, $meta, $body) = receive()) {
    if ($header->[3] == INIT_FRAME) { start($meta) }
    else { answer($header, $meta, $body) }
  }
}

# Runs a dummy function through this very code, then forgets it: what is compiled, cached and allocated on the way is there in every fork.
sub warm() {
  my $init = join '', map { "$_\0" } qw(function=warmup version=0 handler=handler.pl symbol=handler memory_bytes=134217728 env.LANG=C.UTF-8);
  my $event = '{"version":"2.0","rawPath":"/","headers":{"host":"localhost"},"requestContext":{"http":{"method":"GET"},"requestId":"' . '0' x 36 . '","timeEpoch":1}}';
  for (1 .. 16) {
    socketpair(my $near, my $far, Socket::AF_UNIX, Socket::SOCK_STREAM, 0) or die "socketpair: $!";
    syswrite $far, pack(HEADER, length $init, length $init, 0, INIT_FRAME, 0, 0, 0, 0, 0) . $init;
    syswrite $far, pack(HEADER, length($event) + length $_, length $event, 1, 2, 0, 1000, 0, 0, 0) . $event . $_ for '', 'text';
    shutdown $far, 1;
    serve($near, "$own/warmup");
    shift @INC;
    delete $main::{handler};
    undef $handler;
  }
}

# Chunks of glibc's malloc: from, to, and how many of each size fill the gaps that booting leaves; and how many of Perl's own lists and tables fill theirs. The head of a chunk and what Perl adds to a string take 12 bytes.
use constant { GAPS => [[1040, 2064, 4], [528, 1024, 12], [176, 512, 48], [32, 160, 160]], CHUNK_STEP => 16, CHUNK_HEAD => 12, CONTAINERS => 200 };

# A fork that writes to a page copies it, and a rewind writes it back: so what requests allocate must not lie in gaps all over the heap, but together behind what is there. malloc takes the smallest gap that is large
# enough, so the largest are filled first.
my @filled;
sub fill_gaps() {
  for my $gap (GAPS->@*) {
    my ($smallest, $size, $count) = @$gap;
    for (; $size >= $smallest; $size -= CHUNK_STEP) {
      push @filled, 'x' x ($size - CHUNK_HEAD) for 1 .. $count;
    }
  }
  push @filled, [], {}, [1], { a => 1 } for 1 .. CONTAINERS;
}

delete $ENV{GLIBC_TUNABLES};  # it was this process's own
warm();
fill_gaps();
open my $socket, '+<&=', 3 or die "descriptor 3: $!";
($channel, $load_us) = ($socket, 0);
send_frame(READY, 0, 0, '');
serve($socket, $ARGV[0]);
POSIX::_exit(0);
