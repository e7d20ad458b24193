exports.hello = (request, response) => response.type('text/plain').send(`Hello, world! You asked for ${request.path}\n`);
