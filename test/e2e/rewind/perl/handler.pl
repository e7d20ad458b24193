use strict;
our ($kept, $much, $file);
my %places = (
  variable => [sub { $kept = 'kept' }, sub { $kept }],
  symbol => [sub { no strict 'refs'; *{'main::kept_sub'} = sub { 'kept' } }, sub { main->can('kept_sub') ? 'kept' : undef }],
  environment => [sub { $ENV{KEPT} = 'kept' }, sub { $ENV{KEPT} }],
  memory => [sub { $much = 'k' x (32 << 20) }, sub { defined $much ? 'kept' : undef }],
  file => [sub { open my $to, '>', '/tmp/kept' or die; print $to 'kept'; close $to }, sub { -e '/tmp/kept' ? 'kept' : undef }],
  descriptor => [sub { open $file, '>', '/tmp/open' or die }, sub { defined $file || -e '/tmp/open' ? 'kept' : undef }],
  signal => [sub { $SIG{USR2} = sub { } }, sub { $SIG{USR2} ? 'kept' : undef }],
  shared => [sub { open my $to, '>', '/dev/shm/kept' or die; close $to }, sub { -e '/dev/shm/kept' ? 'kept' : undef }],
  umask => [sub { umask 070 }, sub { umask(022) == 070 ? 'kept' : undef }],
  alarm => [sub { alarm 600 }, sub { alarm(0) || undef }],
  name => [sub { $0 = 'kept' }, sub { open my $from, '<', '/proc/self/comm' or die; <$from> eq "kept\n" ? 'kept' : undef }],
  directory => [sub { chdir '/usr' }, sub { readlink('/proc/self/cwd') eq '/function' ? undef : 'moved' }],
);

sub handler {
  my ($event) = @_;
  my (undef, $what, $place) = split m{/}, $event->{rawPath};
  return [sort keys %places] if $what eq 'list';
  my ($hide, $find) = @{$places{$place}};
  $hide->() if $what eq 'hide';
  return { pid => $$ + 0, found => $what eq 'hide' ? undef : $find->() };
}
1;
