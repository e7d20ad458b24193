# JSON as the shim needs it: texts are character strings, objects hashes, true and false Perl's own booleans. JSON::PP, the one that comes with Perl, takes ten times as long.
package Flashd::JSON;
use v5.36;
no warnings 'experimental::builtin';
use B ();

my %ESCAPE = ("\n" => '\n', "\r" => '\r', "\t" => '\t', "\b" => '\b', "\f" => '\f', '"' => '\"', '\\' => '\\\\');
my %UNESCAPE = (n => "\n", r => "\r", t => "\t", b => "\b", f => "\f", '"' => '"', '\\' => '\\', '/' => '/');

sub decode($text) {
  local $_ = $text;
  my $value = value();
  /\G\s*\z/gc or broken();
  return $value;
}

sub broken() { die 'not JSON at character ' . (pos() // 0) . "\n" }

sub value() {
  /\G\s+/gc;
  return string() if /\G"/gc;
  if (/\G\{/gc) {
    my %object;
    until (/\G\s*\}/gc) {
      %object and (/\G\s*,/gc or broken());
      /\G\s*"/gc or broken();
      my $key = string();
      /\G\s*:/gc or broken();
      $object{$key} = value();
    }
    return \%object;
  }
  if (/\G\[/gc) {
    my @array;
    until (/\G\s*\]/gc) {
      @array and (/\G\s*,/gc or broken());
      push @array, value();
    }
    return \@array;
  }
  return 0 + $1 if /\G(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)/gc;
  return !!1 if /\Gtrue/gc;
  return !!0 if /\Gfalse/gc;
  return undef if /\Gnull/gc;
  broken();
}

# What follows the opening quotation mark.
sub string() {
  return $1 if /\G([^"\\]*)"/gc;
  my $string = '';
  until (/\G"/gc) {
    if (/\G([^"\\]+)/gc) { $string .= $1 }
    elsif (/\G\\(["\\\/bfnrt])/gc) { $string .= $UNESCAPE{$1} }
    elsif (/\G\\u([dD][89abAB]..)\\u([dD][c-fC-F]..)/gc) { $string .= chr(0x10000 + (hex($1) - 0xD800) * 0x400 + hex($2) - 0xDC00) }
    elsif (/\G\\u([0-9a-fA-F]{4})/gc) { $string .= chr hex $1 }
    else { broken() }
  }
  return $string;
}

sub encode($value) {
  my $type = ref $value;
  if ($type eq '') {
    return 'null' unless defined $value;
    return $value ? 'true' : 'false' if builtin::is_bool($value);
    my $flags = B::svref_2object(\$value)->FLAGS;
    return quote($value) if $flags & B::SVp_POK || !($flags & (B::SVp_IOK | B::SVp_NOK));
    die "$value has no JSON form\n" if $value != $value || abs($value) == 9**9**9;
    return "$value";
  }
  return '{' . join(', ', map { quote($_) . ': ' . encode($value->{$_}) } sort keys %$value) . '}' if $type eq 'HASH';
  return '[' . join(', ', map { encode($_) } @$value) . ']' if $type eq 'ARRAY';
  return encode($value->TO_JSON) if builtin::blessed($value) && $value->can('TO_JSON');
  return $$value ? 'true' : 'false' if $type eq 'SCALAR';
  die "a value of type $type has no JSON form\n";
}

sub quote($string) {
  $string =~ s{(["\\\x00-\x1f])}{$ESCAPE{$1} // sprintf '\u%04x', ord $1}ge;
  return "\"$string\"";
}

1;
