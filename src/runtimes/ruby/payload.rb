# frozen_string_literal: true

# How events, responses and errors look to a Ruby function: Lambda's function URLs, payload 2.0. A hash with statusCode is the whole response (headers: an
# array repeats one; cookies; body: text, or base64 with isBase64Encoded, or JSON); anything else is 200 with its JSON text.
module Flashd
  META_MAX = 1 << 20
  BODY_MAX = 64 << 20
  JSON_TYPE = "content-type\0application/json\0"
  HEADERS = /\A(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+\0[^\0-\x08\x0a-\x1f\x7f]*\0)*\z/
  # What JSON turns into its to_s.
  STRANGE = JSON::Ext::Generator::GeneratorMethods::Object

  # A handler's second argument, with Lambda's names.
  class Context
    attr_reader :function_name, :function_version, :memory_limit_in_mb, :aws_request_id

    def initialize(config, request_id, left_ms)
      @function_name, @function_version = config['function'], config['version']
      @memory_limit_in_mb = config['memory_bytes'].to_i >> 20
      @aws_request_id = request_id
      @deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC, :millisecond) + left_ms
    end

    def get_remaining_time_in_millis
      [0, @deadline - Process.clock_gettime(Process::CLOCK_MONOTONIC, :millisecond)].max
    end
  end

  module_function

  def decode(meta, body, binary)
    event = JSON.parse(meta.force_encoding(Encoding::UTF_8))
    event['isBase64Encoded'] = binary
    event['body'] = binary ? [body].pack('m0') : body.force_encoding(Encoding::UTF_8).scrub unless body.empty?
    event
  end

  # Status, meta and body of a RESPONSE frame. Raises when the result breaks the rules.
  def encode(result)
    result = result.transform_keys(&:to_s) if result.is_a?(Hash) && result.key?(:statusCode)
    return 200, JSON_TYPE, dump(result) unless result.is_a?(Hash) && result.key?('statusCode')

    status = Integer(result['statusCode'])
    raise ArgumentError, "statusCode #{status} is not between 200 and 599" unless status.between?(200, 599)

    meta, body = encode_headers(result), result['body']
    body = if body.nil? then ''
           elsif result['isBase64Encoded'] then body.unpack1('m0')
           else body.is_a?(String) ? body : dump(body)
           end
    raise ArgumentError, 'the response is too large' if meta.bytesize > META_MAX || body.bytesize > BODY_MAX

    [status, meta, body]
  end

  def dump(value)
    refuse_strange(value)
    JSON.generate(value)
  end

  def refuse_strange(value)
    case value
    when String, Numeric, true, false, nil, Symbol then nil
    when Hash then value.each_value { |inner| refuse_strange(inner) }
    when Array then value.each { |inner| refuse_strange(inner) }
    else raise TypeError, "an object of class #{value.class} has no JSON form" if value.method(:to_json).owner == STRANGE
    end
  end

  def encode_headers(result)
    meta, typed = +'', false
    (result['headers'] || {}).each do |name, values|
      typed ||= name.to_s.casecmp?('content-type')
      Array(values).each { |value| meta << "#{name}\0#{value.is_a?(String) ? value : dump(value)}\0" }
    end
    (result['cookies'] || []).each { |cookie| meta << "set-cookie\0#{cookie}\0" }
    meta << JSON_TYPE unless typed
    raise ArgumentError, 'a header or a cookie has characters that HTTP does not allow' unless HEADERS.match?(meta)

    meta
  end

  # ERROR meta: type, message, and the stack up to the shim.
  def describe(error, own)
    stack = (error.backtrace || []).take_while { |line| !line.start_with?(own) }
    parts = [error.class.name || 'Error', (error.message rescue 'its text could not be made'), stack.join("\n")]
    parts.map { |part| "#{part.to_s.b.tr("\0", ' ')[0, META_MAX / 4]}\0" }.join
  end
end
