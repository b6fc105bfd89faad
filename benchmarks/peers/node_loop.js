// The npm @bazel/worker loop with the least handler that does what a job of ours does: a process, its output in a pipe.
//
//     node node_loop.js PACKAGE --persistent_worker
'use strict';

const { spawn } = require('child_process');
const { runWorkerLoop } = require(process.argv[2]);

runWorkerLoop((words) => new Promise((resolve, reject) => {
  const [program, ...rest] = words.slice(words.indexOf('--') + 1);
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.on('data', (data) => process.stderr.write(data)); // the loop collects it for the response
  child.stderr.on('data', (data) => process.stderr.write(data));
  child.on('error', reject);
  child.on('close', (code) => resolve(code === 0));
}));
