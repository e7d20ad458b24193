export default {
  fetch(request) {
    return new Response(`Hello, world! You asked for ${new URL(request.url).pathname}\n`, { headers: { 'content-type': 'text/plain' } });
  },
};
