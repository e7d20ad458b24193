require 'socket'

WAYS = {
  'read' => ->(path) { File.open(path).close }, 'list' => ->(path) { Dir.children(path).sort.join(' ') }, 'write' => ->(path) { File.open(path, 'a').close },
  'unix' => ->(path) { UNIXSocket.new(path.sub('@', "\0")).close }, 'tcp' => ->(port) { TCPSocket.new('127.0.0.1', port.to_i).close }, 'kill' => ->(pid) { Process.kill(:KILL, pid.to_i) && nil },
  'run' => ->(command) { IO.popen(['sh', '-c', command], &:read).strip }, 'call' => ->(words) { syscall(*words.split.map(&:to_i)) && nil }
}.freeze

def handler(event:, context:)
  event['body'].to_s.lines.map do |line|
    way, target = line.chomp.split("\t")
    WAYS[way].call(target) || 'done'
  rescue SystemCallError => error
    error.class.name.sub('Errno::', '')
  end
end
