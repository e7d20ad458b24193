# The function a template runs while it boots: what most handlers do, so that this has been done before.
def handler(event:, context:)
  print ''
  return { path: event['rawPath'], home: ENV['HOME'], list: [1, 'two', 2.5] } unless event['body']

  { statusCode: 200, headers: { 'content-type' => 'text/plain' }, cookies: ['a=b'], body: "left #{context.get_remaining_time_in_millis}" }
end
