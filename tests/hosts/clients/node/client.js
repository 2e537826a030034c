'use strict';
// One call on grpc-js, its outcome as one line of JSON:
// client.js [-stream] [-timeout 5] [-ca FILE [-certificate FILE -key FILE] [-server-name NAME]]
//   TARGET /package.Service/Method [KEY=VALUE ...]

const fs = require('node:fs');
const { parseArgs } = require('node:util');
const grpc = require('@grpc/grpc-js');

function options() {
  // The other clients' options have one dash, parseArgs wants two.
  const words = process.argv.slice(2).map((word) => word.replace(/^-(?=[a-z])/, '--'));
  return parseArgs({
    args: words,
    allowPositionals: true,
    options: {
      stream: { type: 'boolean', default: false },
      timeout: { type: 'string', default: '5' },
      ca: { type: 'string' },
      certificate: { type: 'string' },
      key: { type: 'string' },
      'server-name': { type: 'string' },
    },
  });
}

function read(path) {
  return path === undefined ? null : fs.readFileSync(path);
}

function credentials(asked) {
  if (asked.ca === undefined) {
    return grpc.credentials.createInsecure();
  }
  return grpc.credentials.createSsl(read(asked.ca), read(asked.key), read(asked.certificate));
}

function main() {
  const { values: asked, positionals: [target, method, ...pairs] } = options();
  const settings = { 'grpc.enable_http_proxy': 0 };
  if (asked['server-name'] !== undefined) {
    settings['grpc.ssl_target_name_override'] = asked['server-name'];
    settings['grpc.default_authority'] = asked['server-name'];
  }
  const metadata = new grpc.Metadata();
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    metadata.add(pair.slice(0, at), pair.slice(at + 1));
  }
  const raw = (message) => message;
  const client = new grpc.Client(target, credentials(asked), settings);
  const deadline = Date.now() + 1000 * Number(asked.timeout);
  const ended = (error) => {
    const number = error ? error.code : grpc.status.OK;
    const message = error ? error.details : '';
    console.log(JSON.stringify({ code: grpc.status[number], number, message }));
    client.close();
  };
  if (asked.stream) {
    client.makeClientStreamRequest(method, raw, raw, metadata, { deadline }, ended).end();
  } else {
    client.makeUnaryRequest(method, raw, raw, Buffer.alloc(0), metadata, { deadline }, ended);
  }
}

main();
