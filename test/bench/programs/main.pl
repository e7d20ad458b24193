# The start of functions/hello-perl as a program of its own: what the peers of a cold start run.
use strict;
use warnings;
use JSON::PP ();

package Context { sub aws_request_id { '1' } }

require ($0 =~ s/main/handler/r);
print JSON::PP::encode_json(handler({ rawPath => '/' }, 'Context')), "\n";
