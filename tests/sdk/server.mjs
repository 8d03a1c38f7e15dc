// A `fathom serve` of its own for each test file: started on a free port, stopped as an operator
// would stop it. The program's path comes from the environment (FATHOM_PROGRAM).
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const START_LIMIT_MS = 120_000;

// Options: `args` are further arguments; `script` is a list of {match, completion} that the server
// says instead of what the model would (see --scripted).
export async function startServer({ args = [], script } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'fathom-'));
  const all = ['serve', '--port', '0', ...args];
  if (script) {
    const file = join(folder, 'script.jsonl');
    writeFileSync(file, script.map((line) => JSON.stringify(line) + '\n').join(''));
    all.push('--allow-scripted', '--scripted', file);
  }
  const child = spawn(process.env.FATHOM_PROGRAM, all, { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  const ended = new Promise((resolve) => {
    child.on('error', (error) => resolve(`could not start: ${error.message}`));
    child.on('close', (code, signal) => resolve(signal ?? code));
  });
  // Without this a test that dies would leave its server behind.
  process.on('exit', () => child.kill('SIGKILL'));

  const url = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail('is silent'), START_LIMIT_MS);
    const fail = (why) => {
      clearTimeout(timer);
      reject(new Error(`fathom ${all.join(' ')} ${why}:\n${log}`));
    };
    ended.then((how) => fail(`ended (${how})`));
    child.stderr.setEncoding('utf8').on('data', (text) => {
      log += text;
      const found = /listening on (http:\/\/\S+:\d+)/.exec(log);
      if (!found) return;
      clearTimeout(timer);
      resolve(found[1]);
    });
  });

  return {
    url,
    log: () => log,
    // A clean end is part of every test file: exit status 0 after SIGTERM.
    async stop() {
      child.kill('SIGTERM');
      const how = await ended;
      rmSync(folder, { recursive: true, force: true });
      assert.equal(how, 0, `fathom serve ended with ${how}:\n${log}`);
    },
  };
}

// A tool-call block as the model writes it. Strings are raw text, everything else is JSON.
export function toolCalls(...calls) {
  const invokes = calls.map(({ name, input }) => {
    const parameters = Object.entries(input).map(([key, value]) => {
      const isString = typeof value === 'string';
      const text = isString ? value : JSON.stringify(value);
      return `<｜DSML｜parameter name="${key}" string="${isString}">${text}</｜DSML｜parameter>\n`;
    });
    return `<｜DSML｜invoke name="${name}">\n${parameters.join('')}</｜DSML｜invoke>\n`;
  });
  return `\n\n<｜DSML｜tool_calls>\n${invokes.join('')}</｜DSML｜tool_calls>`;
}

// The one tool most tests offer, as JSON schema. The bundled model was trained on these very
// words, so with it tool calls need no script.
export const weather = {
  name: 'get_weather',
  description: 'Get the weather of a city.',
  schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};
export const time = {
  name: 'get_time',
  description: 'Get the local time of a city.',
  schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};

export async function collect(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}
