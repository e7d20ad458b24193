/** uWebSockets.js and nothing else, on the port given: what the gateway's own share of a request is measured against. */
import { App } from 'uWebSockets.js';

const LISTEN_EXCLUSIVE = 1;

App()
  .any('/*', (response, request) => {
    response.writeHeader('content-type', 'text/plain').end(`Hello, world! You asked for ${request.getUrl()}\n`);
  })
  .listen(Number(process.argv[2]), LISTEN_EXCLUSIVE, (socket) => {
    if (!socket) process.exit(1);
  });
