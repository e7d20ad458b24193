# The start of functions/hello-ruby as a program of its own: what the peers of a cold start run.
require 'json'
require_relative 'handler'

puts JSON.generate(handler(event: { 'rawPath' => '/' }, context: Struct.new(:aws_request_id).new('1')))
