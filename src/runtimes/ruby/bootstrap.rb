# frozen_string_literal: true

# The Ruby runtime's shim: boots once as a template, warms its own request loop, writes READY and waits in IO.select on descriptor 3. Every instance is a fork
# that wakes up in that call and reads INIT and REQUEST frames (native/include/flashd/frame.h is the protocol).
# usage: bootstrap.rb FUNCTION_DIRECTORY
#
# What functions require most is there when they do; not what keeps a random generator of its own (tempfile).
%w[base64 bigdecimal cgi/util date digest erb fileutils json logger net/http openssl optparse ostruct pp securerandom set shellwords socket stringio time timeout uri zlib]
  .each { |library| require library }
require_relative 'payload'

module Flashd
  INIT, REQUEST, PING, FREEZE, READY, RESPONSE, ERROR = 1, 2, 3, 4, 129, 130, 131
  NO_HANDLER, LOAD, CALL, BAD_RESPONSE, EXIT = 1, 2, 3, 4, 5
  BODY_BINARY, READ_BYTES, HEADER, HEADER_BYTES = 1, 64 << 10, 'VVVvvVVVV', 32

  # Hooks around a function template: Flashd.before_snapshot { … }, Flashd.after_restore { … }.
  HOOKS = { before_snapshot: [], after_restore: [] }.freeze
  HOOKS.each { |name, blocks| define_singleton_method(name) { |&block| blocks << block } }

  class Instance
    def initialize(io, root)
      @io, @root, @data, @load_us, @config = io, root, +''.b, 0, {}
    end

    def write(kind, id, aux, meta, body = '', handler_us = 0)
      frame = [meta.bytesize + body.bytesize, meta.bytesize, id, kind, 0, aux, @load_us, handler_us, 0].pack(HEADER) << meta.b << body.b
      @load_us = 0
      frame = frame.byteslice(@io.syswrite(frame)..) until frame.empty?
    rescue SystemCallError
      exit!(1)
    end

    def serve
      while (header, meta, body = receive)
        header[3] == INIT ? start(meta) : answer(header, meta, body)
      end
    end

    private

    # Waits in IO.select, not in a read: the gateway's own reads would wake a blocked reader.
    def receive
      needed, header = HEADER_BYTES, nil
      loop do
        while @data.bytesize < needed
          IO.select([@io])
          @data << @io.sysread(READ_BYTES)
        end
        break if header

        header = @data.unpack(HEADER)
        needed += header[0]
      end
      meta, body = @data.byteslice(HEADER_BYTES, header[1]), @data.byteslice(HEADER_BYTES + header[1], header[0] - header[1])
      @data = @data.byteslice(needed..)
      [header, meta, body]
    rescue EOFError, SystemCallError
      nil
    end

    # INIT. What every fork would repeat of the template is renewed first.
    def start(meta)
      started = now_us
      Random.srand(Random.new_seed)
      # The process id is the template's, by which OpenSSL would notice a fork: Ruby keeps it beside its timer and would abort.
      OpenSSL::Random.seed(Random.urandom(64))
      renew_names
      # In a fork of a function template it is loaded, and the rest is as this INIT says.
      if @handler || @failure
        restored
      else
        configure(meta)
        $LOAD_PATH.unshift(@root)
        load_handler(File.expand_path(@config['handler'], @root), @config['symbol'])
      end
      @load_us = now_us - started
      # There is nobody to answer yet; a request that comes nevertheless is told the same.
      write(ERROR, 0, *@failure) if @failure && @data.empty?
    end

    def configure(meta)
      meta.force_encoding(Encoding::UTF_8).split("\0").each do |entry|
        key, value = entry.split('=', 2)
        key.start_with?('env.') ? ENV[key[4..]] = value : @config[key] = value
      end
    end

    def restored
      HOOKS[:after_restore].each(&:call)
    rescue Exception => error
      @failure = [LOAD, Flashd.describe(error, __dir__)]
    end

    # Names of temporary files come from a generator of their own, where that was loaded before the freeze.
    def renew_names
      return unless defined?(Dir::Tmpname) && Dir::Tmpname.const_defined?(:RANDOM)

      Dir::Tmpname.const_get(:RANDOM).define_singleton_method(:next) { Random.rand(0x100000000).to_s(36) }
    end

    def load_handler(path, symbol)
      fault = LOAD
      Kernel.load(path)
      fault = NO_HANDLER
      owner, _, name = symbol.rpartition('.')
      @handler = owner.empty? ? TOPLEVEL_BINDING.receiver.method(name) : Object.const_get(owner).method(name)
    rescue Exception => error
      @failure = [fault, Flashd.describe(error, __dir__)]
    end

    def answer(header, meta, body)
      _, _, id, kind, flags, left_ms = header
      return write(ERROR, id, *@failure) if @failure

      fault, started, spent = CALL, now_us, nil
      begin
        event = Flashd.decode(meta, body, flags & BODY_BINARY != 0)
        context = Context.new(@config, event['requestContext']['requestId'], left_ms)
        started = now_us
        HOOKS[:before_snapshot].reverse_each(&:call) if kind == FREEZE
        result = kind == REQUEST ? @handler.call(event: event, context: context) : event  # a ping goes all the way but through the handler
        fault, spent = BAD_RESPONSE, now_us - started
        response = Flashd.encode(result)
      rescue Exception => error
        fault = EXIT if error.is_a?(SystemExit)
      end
      spent ||= now_us - started
      response ? write(RESPONSE, id, *response, spent) : write(ERROR, id, fault, Flashd.describe(error, __dir__), '', spent)
      exit!(1) if fault == EXIT
    end

    def now_us
      Process.clock_gettime(Process::CLOCK_MONOTONIC, :microsecond)
    end
  end

  # Runs a dummy function through this very code, then forgets it: what is compiled, cached and allocated on the way is there in every fork.
  def self.warm
    init = "function=warmup\0version=0\0handler=handler.rb\0symbol=handler\0memory_bytes=134217728\0env.LANG=C.UTF-8\0"
    event = JSON.generate('version' => '2.0', 'rawPath' => '/', 'headers' => { 'host' => 'localhost' }, 'requestContext' => { 'requestId' => '0' * 36 })
    16.times do
      near, far = UNIXSocket.pair
      far.write([init.bytesize, init.bytesize, 0, INIT, 0, 0, 0, 0, 0].pack(HEADER), init)
      ['', 'text'].each { |body| far.write([event.bytesize + body.bytesize, event.bytesize, 1, REQUEST, 0, 1000, 0, 0, 0].pack(HEADER), event, body) }
      far.close_write
      Instance.new(near, "#{__dir__}/warmup").serve
      near.close
      far.close
      $LOAD_PATH.shift
    end
    Object.send(:remove_method, :handler)
  end

  # Chunks of glibc's malloc, by their sizes, and how many of each fill the gaps that booting leaves (malloc_info(3) tells of 770). One of 32 bytes is less than any string has outside of its object.
  GAPS = { 1040..2064 => 4, 528..1024 => 12, 176..512 => 48, 48..160 => 160 }.freeze
  CHUNK_STEP, CHUNK_HEAD, SMALLEST, PROMOTIONS, FILLED = 16, 9, 160, 3, []

  # A fork that writes to a page copies it, and a rewind writes it back: so what requests allocate must not lie in gaps all over the heap, but together behind what is there. malloc takes the smallest gap that is large
  # enough, so the largest are filled first. What fills them is old then, and no collection in a fork writes to it.
  def self.fill_gaps
    GC.start
    GC.disable
    GAPS.each do |sizes, count|
      sizes.step(CHUNK_STEP).reverse_each { |size| count.times { FILLED << 'x' * (size - CHUNK_HEAD) } }
    end
    SMALLEST.times { FILLED << Monitor.new }
    GC.enable
    PROMOTIONS.times { GC.start }
  end
end

$stdout.sync = true
ENV.delete('GLIBC_TUNABLES') # it was this process's own
Flashd.warm
Flashd.fill_gaps
instance = Flashd::Instance.new(IO.for_fd(3, 'r+b', autoclose: false), ARGV.shift)
instance.write(Flashd::READY, 0, 0, '')
instance.serve
exit!(0)
