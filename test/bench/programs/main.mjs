/** The start of functions/hello-node as a program of its own: what the peers of a cold start run. */
import { handler } from './index.mjs';

console.log(JSON.stringify(await handler({ rawPath: '/' }, { awsRequestId: '1' })));
