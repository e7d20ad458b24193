$kept = nil
PLACES = {
  'variable' => [-> { $kept = 'kept' }, -> { $kept }],
  'class' => [-> { Object.const_set(:Kept, 'kept') }, -> { Object.const_defined?(:Kept) ? 'kept' : nil }],
  'environment' => [-> { ENV['KEPT'] = 'kept' }, -> { ENV['KEPT'] }],
  'memory' => [-> { $much = Array.new(64) { 'k' * (1 << 20) } }, -> { $much && $much.length }],
  'file' => [-> { File.write('/tmp/kept', 'kept') }, -> { File.exist?('/tmp/kept') ? 'kept' : nil }],
  'descriptor' => [-> { $file = File.open('/tmp/open', 'w') }, -> { Dir.children('/proc/self/fd').filter_map { |fd| File.readlink("/proc/self/fd/#{fd}") rescue nil }.find { |each| each.start_with?('/tmp') } }],
  'thread' => [-> { Thread.new { sleep 20 } ; sleep 0.01 }, -> { Thread.list.length > 1 ? 'kept' : nil }],
  'signal' => [-> { trap('USR2') {} }, -> { trap('USR2', 'DEFAULT').respond_to?(:call) ? 'kept' : nil }],
  'shared' => [-> { File.write('/dev/shm/kept', 'kept') }, -> { File.exist?('/dev/shm/kept') ? 'kept' : nil }],
  'umask' => [-> { File.umask(070) }, -> { File.umask(022) == 070 ? 'kept' : nil }],
  'limit' => [-> { Process.setrlimit(:NOFILE, 77, Process.getrlimit(:NOFILE)[1]) }, -> { Process.getrlimit(:NOFILE)[0] == 77 ? 'kept' : nil }],
  'directory' => [-> { Dir.chdir('/usr') }, -> { Dir.pwd == '/function' ? nil : Dir.pwd }],
}.freeze

def handler(event:, context:)
  _, what, place = event['rawPath'].split('/')
  return PLACES.keys if what == 'list'
  hide, find = PLACES[place]
  hide.call if what == 'hide'
  { pid: Process.pid, found: what == 'hide' ? nil : find.call }
end
