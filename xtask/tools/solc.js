// Answers the two questions foundry asks a Solidity compiler, with npm's `solc` (wasm) behind them:
// `--version`, and `--standard-json` (standard input to standard output).
// Installed by `cargo xtask setup` beside the `node_modules` it needs.
'use strict';
const fs = require('fs');
const solc = require('solc');

const args = process.argv.slice(2);
if (args.includes('--version')) {
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
} else if (args.includes('--standard-json')) {
  process.stdout.write(solc.compile(fs.readFileSync(0, 'utf8')));
} else {
  process.stderr.write('solc: only --version and --standard-json are answered\n');
  process.exitCode = 2;
}
